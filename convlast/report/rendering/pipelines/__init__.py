"""The report in the kinds that pipelines show: Markdown, JUnit and SARIF."""
