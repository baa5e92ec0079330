// Puts the parts together.

byId("app").hidden = false;
installKey(() => {
  refreshJobs();
  showAddressed();
  retryUnauthorized();
});
installChoosing((chosen) => upload(chosen));
installUploads();
installJob();
installComparison();
byId("older").addEventListener("click", showOlder);
refreshJobs();
showAddressed();
