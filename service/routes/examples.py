"""A line of curl for each operation, for the page at `/docs`.

`$url` is the address of the service, and `$id` and `$other` are ids of jobs.
"""

from __future__ import annotations

CURL: dict[tuple[str, str], str] = {
    ("POST", "/convert"): """\
# the artifact and its report, as soon as they are there
curl --fail-with-body -F checkpoint=@model.pt -F smoke=none $url/convert -o out.zip

# a job, which goes on by itself
curl --fail-with-body -F checkpoint=@model.pt -H "Prefer: respond-async" $url/convert""",
    ("POST", "/inspect"): """\
curl --fail-with-body -F checkpoint=@model.pt $url/inspect -o report.json""",
    ("GET", "/jobs"): """\
curl "$url/jobs?state=succeeded&limit=20\"""",
    ("GET", "/jobs/{job_id}"): """\
curl "$url/jobs/$id?wait=25\"""",
    ("GET", "/jobs/{job_id}/events"): """\
curl --no-buffer $url/jobs/$id/events""",
    ("DELETE", "/jobs/{job_id}"): """\
curl -X DELETE $url/jobs/$id""",
    ("GET", "/jobs/{job_id}/artifact"): """\
curl --fail-with-body $url/jobs/$id/artifact -o model.channels_last_3d.pt""",
    ("GET", "/jobs/{job_id}/archive"): """\
curl --fail-with-body $url/jobs/$id/archive -o out.zip""",
    ("GET", "/jobs/{job_id}/report"): """\
curl --fail-with-body $url/jobs/$id/report -o report.json""",
    ("GET", "/jobs/{job_id}/report.html"): """\
curl --fail-with-body $url/jobs/$id/report.html -o report.html""",
    ("GET", "/jobs/{job_id}/report.md"): """\
curl --fail-with-body $url/jobs/$id/report.md >> summary.md""",
    ("GET", "/jobs/{job_id}/report.xml"): """\
curl --fail-with-body $url/jobs/$id/report.xml -o report.xml""",
    ("GET", "/jobs/{job_id}/report.sarif"): """\
curl --fail-with-body $url/jobs/$id/report.sarif -o report.sarif""",
    ("GET", "/jobs/{job_id}/provenance"): """\
curl --fail-with-body $url/jobs/$id/provenance -o provenance.json""",
    ("GET", "/jobs/{job_id}/comparison"): """\
curl --fail-with-body -H "Accept: text/html" -o comparison.html \\
  "$url/jobs/$id/comparison?with=$other\"""",
    ("GET", "/livez"): """\
curl $url/livez""",
    ("GET", "/readyz"): """\
curl --fail-with-body $url/readyz""",
    ("GET", "/version"): """\
curl $url/version""",
    ("GET", "/metrics"): """\
curl $url/metrics""",
}
"""The examples, by method and path."""
