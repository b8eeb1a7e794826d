# Shared by the scripts of this folder; source it, do not run it.
# shellcheck shell=bash disable=SC2034
# Messages go to stderr: stdout belongs to what a script was asked for (a path, a guest's output).

SKERRY_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
SCRIPT=${0##*/}

if [[ -t 2 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
  BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' DIM=$'\e[2m' PLAIN=$'\e[0m' ERASE=$'\r\e[K'
else
  BOLD='' RED='' GREEN='' DIM='' PLAIN='' ERASE=''
fi

say() { printf '%s\n' "$*" >&2; }

# die WHAT [WHAT TO DO]: says both and ends the script.
die() {
  printf '%s%s: %s%s\n' "$RED" "$SCRIPT" "$1" "$PLAIN" >&2
  [[ -z ${2:-} ]] || printf '  %s\n' "$2" >&2
  exit 1
}

# usage_error WHAT: a mistake on the command line, exit status 2.
usage_error() {
  printf '%s%s: %s%s\n' "$RED" "$SCRIPT" "$1" "$PLAIN" >&2
  printf '  See %s --help\n' "$0" >&2
  exit 2
}

# Tenths of a second between $1 and $2, both of $EPOCHREALTIME, as "12.3 s".
elapsed() {
  local from=${1/[.,]/} to=${2/[.,]/} tenths
  tenths=$(((to - from) / 100000))
  printf '%d.%d s' $((tenths / 10)) $((tenths % 10))
}

# show_tail LINES FILE: its end, indented, without what would move the cursor or clear the screen.
show_tail() {
  local escape=$'\e'
  tail -n "$1" -- "$2" | tr -d '\r\0' | sed -E "s/$escape(\[[0-9;?]*[A-Za-z]|.)//g; s/^/  | /" >&2
}

STEP_CHILD=''
# shellcheck disable=SC2317,SC2329  # called by the trap below
stop_step() { [[ -z $STEP_CHILD ]] || kill -TERM "$STEP_CHILD" 2>/dev/null || true; }
trap stop_step EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# step LOG TEXT COMMAND...: runs COMMAND with its output in LOG and prints TEXT and how long it took, on one line. On a
# terminal that line also shows the last line of LOG while COMMAND runs. Ends the script if COMMAND fails.
step() {
  local log=$1 text=$2 start=$EPOCHREALTIME status=0 last
  shift 2
  mkdir -p -- "$(dirname -- "$log")"
  if [[ -n $ERASE ]]; then
    "$@" >"$log" 2>&1 </dev/null &
    STEP_CHILD=$!
    while kill -0 "$STEP_CHILD" 2>/dev/null; do
      last=$(tail -n 1 -- "$log" 2>/dev/null | tr -cd '[:print:]' | cut -c "1-$((${COLUMNS:-80} - ${#text} - 16 > 10 ? ${COLUMNS:-80} - ${#text} - 16 : 10))")
      printf '%s%s ... %s %s%s%s' "$ERASE" "$text" "$(elapsed "$start" "$EPOCHREALTIME")" "$DIM" "$last" "$PLAIN" >&2
      sleep 0.3
    done
  else
    printf '%s ... ' "$text" >&2
    "$@" >"$log" 2>&1 </dev/null &
    STEP_CHILD=$!
  fi
  wait "$STEP_CHILD" || status=$?
  STEP_CHILD=''
  if ((status != 0)); then
    if [[ -n $ERASE ]]; then printf '%s%s ... ' "$ERASE" "$text" >&2; fi
    printf '%sfailed%s after %s\n' "$RED" "$PLAIN" "$(elapsed "$start" "$EPOCHREALTIME")" >&2
    show_tail 30 "$log"
    die "'$*' ended with status $status" "The whole output is in $log"
  fi
  if [[ -n $ERASE ]]; then printf '%s%s ... ' "$ERASE" "$text" >&2; fi
  printf '%s%s%s\n' "$GREEN" "$(elapsed "$start" "$EPOCHREALTIME")" "$PLAIN" >&2
}

# require_program PROGRAM PACKAGE
require_program() {
  command -v -- "$1" >/dev/null || die "the program '$1' is not installed" "Install it: apt-get install $2"
}
