#!/bin/sh
# One step of a pipeline: converts a checkpoint, and says which file goes on.
#
#   convert.sh CHECKPOINT FOLDER [OPTION]...
#
# CHECKPOINT is a file or a model folder. An OPTION is one of `convlast convert`: --fail-on=warning.
# FOLDER is made, or is empty (a second try takes another one), and gets
#   report.json .html .md .xml .sarif   the report, for whoever reads it
#   statement.json                      what the artifact was made of, and by what
#   converted/                          the artifact
#   decision                            `convert` or `keep`
#   model/                              what goes on: the artifact, or the original
# The last two are there only if the gates let the conversion pass. If not, report.md ends with the
# reason, even where there is no report. The exit status is convlast's: 0 passed, 1 not, 2 usage.
# In a job of GitHub, report.md is also its summary, and the decision an output of the step.
#
# From the environment, all optional:
#   CONVLAST_OPTIONS       more options, one on each line
#   CONVLAST_UNDECIDED     what to do if no GPU has measured the speed: keep (default) or convert
#   CONVLAST_SERVER        the address of a service that does the work
#   CONVLAST_API_KEY       its key, or CONVLAST_API_KEY_FILE
#   CONVLAST_SIGNING_KEY   the key that signs the statement, or CONVLAST_SIGNING_KEY_FILE; a service
#                          signs with its own key
set -eu
set +x # a trace would show the keys

wrong() {
    printf 'convert.sh: %s\n' "$1" >&2
    exit 2
}

[ $# -ge 2 ] && [ -n "$1" ] && [ -n "$2" ] || wrong 'usage: convert.sh CHECKPOINT FOLDER [OPTION]...'
case $1 in /*) checkpoint=$1 ;; *) checkpoint=./$1 ;; esac # a dash begins no option then
case $2 in /*) folder=$2 ;; *) folder=./$2 ;; esac
shift 2
undecided=${CONVLAST_UNDECIDED:-keep}
case $undecided in
    keep | convert) ;;
    *) wrong 'CONVLAST_UNDECIDED is keep or convert' ;;
esac
api_key=${CONVLAST_API_KEY:-} api_key_file=${CONVLAST_API_KEY_FILE:-}
signing_key=${CONVLAST_SIGNING_KEY:-} signing_key_file=${CONVLAST_SIGNING_KEY_FILE:-}
unset CONVLAST_API_KEY CONVLAST_SIGNING_KEY
if [ -n "${CONVLAST_SERVER:-}" ] && [ -n "$signing_key$signing_key_file" ]; then
    printf 'convert.sh: the service signs with its own key, if it has one; yours is not used\n' >&2
    signing_key='' signing_key_file=''
fi
for file in "$api_key_file" "$signing_key_file"; do
    [ -z "$file" ] || { [ -r "$file" ] && [ ! -d "$file" ]; } || wrong "no key can be read from $file"
done
mkdir -p "$folder"
[ -z "$(ls -A "$folder")" ] || wrong "not an empty folder: $folder"

mkdir -p "${TMPDIR:-/tmp}" # the image names a folder that only the service makes
private=$(mktemp -d)
trap 'finish $?' EXIT
trap 'exit 143' HUP INT TERM
mkdir "$folder/converted"

# Ends report.md with the reason, if there is one, and removes the keys.
finish() {
    trap '' HUP INT TERM
    [ "$1" = 0 ] || explain "$1" >>"$folder/report.md" || :
    [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$folder/report.md" >>"$GITHUB_STEP_SUMMARY" || :
    rm -rf "$private"
}

# Says what convlast has said at last; behind four spaces Markdown takes anything as it is.
explain() {
    printf '\nThe pipeline stops here:\n\n'
    touch "$private/messages"
    tail -n 20 "$private/messages" | python3 -I -X utf8 -c '
import sys
status, lines = int(sys.argv[1]), sys.stdin.buffer.read().decode(errors="replace").splitlines()
for first in [n for n, line in enumerate(lines) if line.startswith("convlast: ")][-1:]:
    lines = [] if lines[first].startswith("convlast: passed: ") else lines[first:]
if status > 128:
    lines.append(f"It was stopped (status {status}).")
for line in lines or [f"It ended with status {status}."]:
    print("   ", line if len(line) <= 1000 else f"{line[:1000]}…")
' "$1"
}

# Puts a key where nobody else can read it, as convlast wants; file variables are often open.
guard() {
    if [ -n "$2" ]; then
        printf '%s\n' "$2" # built into the shell: no list of processes shows it
    elif [ -n "$3" ]; then
        cat -- "$3"
    else
        return 0
    fi >"$private/$1"
}
umask=$(umask)
umask 077
guard api-key "$api_key" "$api_key_file"
guard signing-key "$signing_key" "$signing_key_file"
umask "$umask"

while IFS= read -r option; do
    [ -z "$option" ] || set -- "$@" "$option"
done <<END
${CONVLAST_OPTIONS:-}
END
# Ours come last, so that they count.
if [ -n "${CONVLAST_SERVER:-}" ]; then
    set -- "$@" "--server=$CONVLAST_SERVER"
    [ ! -s "$private/api-key" ] || set -- "$@" "--key-file=$private/api-key"
fi
[ ! -s "$private/signing-key" ] || set -- "$@" "--signing-key=$private/signing-key"
for kind in json html md xml sarif; do
    set -- "$@" "--report=$folder/report.$kind"
done
set -- "$@" "--statement=$folder/statement.json" "--output=$folder/converted/"

mkfifo "$private/pipe"
tee "$private/messages" <"$private/pipe" >&2 &
shown=$!
convlast convert "$@" -- "$checkpoint" 2>"$private/pipe" &
work=$!
trap 'kill "$work" 2>/dev/null || :' HUP INT TERM # a pipeline that is cancelled cancels its job
status=0
wait "$work" || status=$?
while kill -0 "$work" 2>/dev/null; do # a signal has ended the wait
    status=0
    wait "$work" || status=$?
done
wait "$shown" || :
trap 'exit 143' HUP INT TERM
[ "$status" = 0 ] || exit "$status"

# With select=fastest, `convert_some` is about the layers that were converted; else it says that all
# of them together gain nothing.
decision=$(
    python3 -I -c '
import json, sys
report = json.load(open(sys.argv[1], encoding="utf-8"))
advised = report["advice"]["decision"] if report["advice"] else "undecided"
some = "convert" if report["options"]["select"] == ["fastest"] else "keep"
print({"undecided": sys.argv[2], "convert_some": some}.get(advised, advised))
' "$folder/report.json" "$undecided"
)
if [ "$decision" = convert ]; then
    goes_on=$folder/converted/. what='the artifact goes on'
elif [ -d "$checkpoint" ]; then
    goes_on=$checkpoint/. what='the original goes on'
else
    goes_on=$checkpoint what='the original goes on'
fi
mkdir "$folder/model"
# Links, so that gigabytes lie there once; copies where there can be no links.
if ! cp -RLl "$goes_on" "$folder/model/" 2>/dev/null; then
    rm -r "$folder/model"
    mkdir "$folder/model"
    cp -RL "$goes_on" "$folder/model/"
fi
printf '%s' "$decision" >"$folder/decision" # no line end: Kubeflow would compare it too
[ -z "${GITHUB_OUTPUT:-}" ] || printf 'decision=%s\n' "$decision" >>"$GITHUB_OUTPUT"
printf 'convert.sh: %s: %s\n' "$decision" "$what" >&2
