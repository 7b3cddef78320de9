# shellcheck shell=bash
# What install and uninstall agree on: places, their options, units, completions. After lib.sh.

PREFIX=/opt/runengine
BIN=/usr/local/bin
# The place for units of locally installed programs; /etc/systemd/system is the operator's.
UNIT_DIR=/usr/local/lib/systemd/system
# shellcheck disable=SC2034 # used by those who source this
UNITS=(runengine.socket runengine.service runengine-containers.service)
# Where shells look for completions, below "share" beside the command's directory.
# shellcheck disable=SC2034
declare -A COMPLETIONS=(
    [bash]=bash-completion/completions/runengine
    [fish]=fish/vendor_completions.d/runengine.fish
    [zsh]=zsh/site-functions/_runengine
)
VALUE=

# completion_of SHELL: its file.
completion_of() { echo "$(dirname "$BIN")/share/${COMPLETIONS[$1]}"; }

# take_value OPTION [VALUE]...: sets VALUE, and TAKEN to how many arguments that took, for
# "--option value" and "--option=value".
# shellcheck disable=SC2034 # TAKEN is used by those who source this
take_value() {
    case $1 in
        *=*)
            VALUE=${1#*=}
            TAKEN=1
            ;;
        *)
            [ $# -gt 1 ] || die "$1 needs a value"
            VALUE=$2
            TAKEN=2
            ;;
    esac
    [ -n "$VALUE" ] || die "${1%%=*} needs a value"
}

# take_place ARGUMENT...: one of the options that install and uninstall share; fails for others.
take_place() {
    case $1 in
        --prefix | --prefix=*) take_value "$@" && PREFIX=$VALUE ;;
        --bin | --bin=*) take_value "$@" && BIN=$VALUE ;;
        --unit-dir | --unit-dir=*) take_value "$@" && UNIT_DIR=$VALUE ;;
        *) return 1 ;;
    esac
}

# They end up in a #! line and in units, neither of which can quote.
check_places() {
    local place
    for place in "$PREFIX" "$BIN" "$UNIT_DIR"; do
        [[ $place =~ ^/[A-Za-z0-9/._+-]+$ ]] ||
            die "$place: give an absolute path of letters, digits and /._+- only"
        [ "${#place}" -le 200 ] || die "$place: too long for a #! line"
    done
}

# Whether systemd has the units, or would have when it runs: systemd.unit(5), "Unit File Load Path".
systemd_sees_units() {
    command -v systemctl >/dev/null || return 1
    case ${UNIT_DIR%/} in
        /etc/systemd/system | /run/systemd/system | /usr/local/lib/systemd/system) ;;
        /usr/lib/systemd/system | /lib/systemd/system) ;;
        *) return 1 ;;
    esac
}

# sd_booted(3).
systemd_runs() { [ -d /run/systemd/system ] && ! systemd-detect-virt --quiet --chroot 2>/dev/null; }
