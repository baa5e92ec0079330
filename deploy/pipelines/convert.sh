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
#   CONVLAST_SERVER        the address of a service that does the work; a model folder must be packed
#   CONVLAST_API_KEY       its key, or CONVLAST_API_KEY_FILE
#   CONVLAST_SIGNING_KEY   the key that signs the statement, or CONVLAST_SIGNING_KEY_FILE; a service
#                          signs with its own key
# A variable that is empty is as none. A key that is named and not there is wrong usage.
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

# Prints a key, if one is named. Whoever names one wants it used: nothing goes on without it.
key() {
    [ -n "$2$3" ] || return 0
    from=$1 found=$2
    [ -n "$2" ] || { from=$3 found=$(cat <"$3"); } 2>/dev/null || :
    case $found in
        *[![:space:]]*) printf '%s' "$found" ;; # built into the shell: no list of processes shows it
        *) wrong "no key can be read from $from" ;;
    esac
}
api_key=$(key CONVLAST_API_KEY "$api_key" "$api_key_file")
signing_key=$(key CONVLAST_SIGNING_KEY "$signing_key" "$signing_key_file")

[ -z "$(ls -A "$folder" 2>/dev/null)" ] || wrong "not an empty folder: $folder"
said=$({ mkdir -p "$folder" && mkdir "$folder/converted"; } 2>&1) || wrong "$said"
private='' messages=/dev/null
trap 'finish $?' EXIT
trap 'exit 143' HUP INT TERM

# Leaves what goes on only if all went well, ends report.md with the reason, and removes the keys.
finish() {
    trap '' HUP INT TERM
    if [ "$1" != 0 ]; then
        rm -rf "$folder/.model" "$folder/model" "$folder/decision" || :
        explain "$1" >>"$folder/report.md" || :
    fi
    [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$folder/report.md" >>"$GITHUB_STEP_SUMMARY" || :
    rm -rf "$private"
}

# Says what convlast or `try` has said at last; behind four spaces Markdown takes anything as it is.
explain() {
    printf '\nThe pipeline stops here:\n\n'
    { cat "$messages" && printf '%s' "$said"; } | tail -n 20 | python3 -I -X utf8 -c '
import sys
status, lines = int(sys.argv[1]), sys.stdin.buffer.read().decode(errors="replace").splitlines()
for first in [n for n, line in enumerate(lines) if line.startswith("convlast: ")][-1:]:
    lines = lines[first + lines[first].startswith("convlast: passed: ") :]
if status > 128:
    lines.append(f"It was stopped (status {status}).")
for line in lines or [f"It ended with status {status}."]:
    print("   ", line if len(line) <= 1000 else f"{line[:1000]}…")
' "$1"
}

# Runs a command whose words are the reason if it fails.
try() {
    said=$("$@" 2>&1) && return
    printf '%s\n' "$said" >&2
    exit 1
}

try mkdir -p "${TMPDIR:-/tmp}" # the image names a folder that only the service makes
try mktemp -d
private=$said said=''

# Puts a key where nobody else can read it, as convlast wants; file variables are often open.
guard() {
    umask 077
    printf '%s\n' "$2" >"$private/$1"
}
try guard api-key "$api_key"
try guard signing-key "$signing_key"

while IFS= read -r option; do
    [ -z "$option" ] || set -- "$@" "$option"
done <<END
${CONVLAST_OPTIONS:-}
END
# Ours come last, so that they count.
if [ -n "${CONVLAST_SERVER:-}" ]; then
    set -- "$@" "--server=$CONVLAST_SERVER"
    [ -z "$api_key" ] || set -- "$@" "--key-file=$private/api-key"
fi
[ -z "$signing_key" ] || set -- "$@" "--signing-key=$private/signing-key"
for kind in json html md xml sarif; do
    set -- "$@" "--report=$folder/report.$kind"
done
set -- "$@" "--statement=$folder/statement.json" "--output=$folder/converted/"

mkfifo "$private/pipe"
messages=$private/messages
tee "$messages" <"$private/pipe" >&2 &
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
# Gives what goes on its name when it is whole. No line end: Kubeflow would compare it too.
publish() {
    copy && printf '%s' "$decision" >"$folder/decision" && mv "$folder/.model" "$folder/model"
}

# Links, so that gigabytes lie there once; copies where there can be no links.
copy() {
    mkdir "$folder/.model" && cp -RLl "$goes_on" "$folder/.model/" 2>/dev/null && return
    rm -r "$folder/.model" && mkdir "$folder/.model" && cp -RL "$goes_on" "$folder/.model/"
}
try publish
[ -z "${GITHUB_OUTPUT:-}" ] || printf 'decision=%s\n' "$decision" >>"$GITHUB_OUTPUT"
printf 'convert.sh: %s: %s\n' "$decision" "$what" >&2
