# Packages out of the host's Debian archive, downloaded but not installed; source after common.sh.
# shellcheck shell=bash
#
# Nothing here needs root or changes the host's apt or dpkg. The host's own package lists are used when they cover the
# architecture; otherwise, or when they are so old that the archive has dropped what they name, apt gets a state of its
# own under STATE that shares only the host's sources, keyrings and network settings.

APT_OPTIONS=()
APT_ARCH='' APT_STATE='' APT_PRIVATE=0

# apt_use ARCH STATE: which architecture the functions below are about, and a folder they may keep lists in.
apt_use() {
  APT_ARCH=$1 APT_STATE=$2/$1 APT_PRIVATE=0
  APT_OPTIONS=(-q -o Acquire::Retries=3)
  require_program apt-get apt
  [[ $(dpkg --print-architecture) == "$APT_ARCH" ]] && apt_host_has_lists && return
  if [[ $(dpkg --print-architecture) == "$APT_ARCH" && $EUID == 0 ]]; then
    say "This machine has no package lists yet; running apt-get update"
    apt-get "${APT_OPTIONS[@]}" update >&2 || say "apt-get update complained; going on with what it got"
    apt_host_has_lists && return
  fi
  apt_go_private
}

apt_host_has_lists() { [[ -n $(apt-cache show --no-all-versions linux-image-"$APT_ARCH" libc6 2>/dev/null | head -n 1) ]]; }

# From here on use lists of our own; they are fetched if there are none or they are a day old, or with 'fresh'.
apt_go_private() {
  local root stamp log
  mkdir -p -- "$APT_STATE"/{lists/partial,cache/archives/partial,log}
  root=$(cd -- "$APT_STATE" && pwd)
  : >"$root/status"
  cat >"$root/apt.conf.new" <<END
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "$APT_ARCH";
APT::Architectures { "$APT_ARCH"; };
Dir::State "$root";
Dir::State::lists "$root/lists";
Dir::State::status "$root/status";
Dir::State::extended_states "$root/extended_states";
Dir::Cache "$root/cache";
Dir::Log "$root/log";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::IndexTargets::deb-src::Sources::DefaultEnabled "false";
END
  mv -- "$root/apt.conf.new" "$root/apt.conf"
  APT_OPTIONS=(-q -c "$root/apt.conf" -o Acquire::Retries=3)
  APT_PRIVATE=1
  stamp=$root/updated log=$root/log/update
  (
    flock 9
    if [[ ${1:-} == fresh || -z $(find "$stamp" -mmin -1440 2>/dev/null) ]]; then
      say "Fetching Debian's package lists for $APT_ARCH (into $APT_STATE, not into the system)"
      # A third-party source that fails or lacks this architecture is no reason to stop: what counts is
      # whether the package is found afterwards. A second try helps while the archive is being renewed.
      if apt-get "${APT_OPTIONS[@]}" update >"$log" 2>&1 || apt-get "${APT_OPTIONS[@]}" update >"$log" 2>&1; then
        touch "$stamp"
      elif [[ -z $(find "$root/lists" -maxdepth 1 -name '*_Packages*' -print -quit) ]]; then
        show_tail 15 "$log"
        die "could not fetch the package lists for $APT_ARCH" \
          "Check /etc/apt/sources.list* and the network (an [arch=...] option there may leave $APT_ARCH out)"
      fi
    fi
  ) 9>"$root/lock"
}

# apt_field PACKAGE FIELD: a field of the candidate version, empty if there is no such package.
apt_field() {
  apt-cache "${APT_OPTIONS[@]}" show --no-all-versions "$1" 2>/dev/null |
    awk -v field="$2:" '$1 == field && !seen { sub(/^[^:]*: */, ""); print; seen = 1 }' || true
}

# apt_require PACKAGE: ends the script with advice if the archive has no such package.
apt_require() {
  [[ -z $(apt_field "$1" Version) ]] || return 0
  # The host's lists may be older than the package: ask the archive once more before giving up.
  if ((!APT_PRIVATE)); then
    apt_go_private fresh
    [[ -z $(apt_field "$1" Version) ]] || return 0
  fi
  local like=$1
  if [[ $1 == linux-image-* ]]; then like=linux-image-; fi
  die "Debian's archive has no package '$1' for $APT_ARCH" \
    "List what there is: apt-cache -c $APT_STATE/apt.conf search --names-only '^$like'"
}

# apt_download PACKAGE[=VERSION] FOLDER: puts the .deb into FOLDER (which should be empty) and sets APT_DEB to its path.
apt_download() {
  local package=$1 folder=$2 log=$2/download.log
  # Where apt drops privileges for downloads its user has to be able to write there.
  if ((EUID == 0)) && id -u _apt >/dev/null 2>&1; then chown _apt "$folder" || true; fi
  if ! (cd -- "$folder" && apt-get "${APT_OPTIONS[@]}" download "$package" >"$log" 2>&1); then
    apt_go_private fresh
    (cd -- "$folder" && apt-get "${APT_OPTIONS[@]}" download "$package" >"$log" 2>&1) || {
      show_tail 15 "$log"
      die "could not download the package '$package' for $APT_ARCH" \
        "If the archive has moved on to a newer version, ask again with --update; else check the network"
    }
  fi
  APT_DEB=$(find "$folder" -maxdepth 1 -name '*.deb' -print -quit)
  [[ -n $APT_DEB ]] || die "apt-get download '$package' left no .deb in $folder"
}
