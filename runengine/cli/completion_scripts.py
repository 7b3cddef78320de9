"""The shells' side of completion: each asks ``runengine __complete`` and offers what it says."""

from __future__ import annotations

BASH = r"""# For an alias as well: complete -F _runengine docker
_runengine() {
    local before=${COMP_LINE:0:COMP_POINT} current="" words=() answer=() line split
    read -ra words <<<"$before"
    case $before in
        *[[:space:]]) ;;
        *)
            current=${words[${#words[@]} - 1]}
            unset "words[${#words[@]} - 1]"
            ;;
    esac
    COMPREPLY=()
    mapfile -t answer < <(runengine __complete -- "${words[@]:1}" "$current" 2>/dev/null)
    # Readline replaces only what stands behind the last of the characters at which it breaks.
    split=${current%"${current##*["${COMP_WORDBREAKS//[[:space:]]/}"]}"}
    for line in "${answer[@]}"; do
        case $line in
            :files) compopt -o default ;;
            :directories) compopt -o dirnames ;;
            :nospace) compopt -o nospace ;;
            *)
                line=${line%%$'\t'*}
                case $line in *=) compopt -o nospace ;; esac
                COMPREPLY+=("${line#"$split"}")
                ;;
        esac
    done
}
complete -F _runengine runengine
"""

ZSH = r"""#compdef runengine
# For an alias as well: compdef _runengine docker
_runengine() {
    local line word
    local -a answer plain open
    local -i files=0 directories=0
    answer=("${(@f)$(runengine __complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${answer[@]}"; do
        case $line in
            :files) files=1 ;;
            :directories) directories=1 ;;
            :nospace | '') ;;
            *)
                word=${line%%$'\t'*}
                line="${word//:/\\:}:${line#*$'\t'}"
                case $word in
                    *[:=]) open+=("$line") ;;
                    *) plain+=("$line") ;;
                esac
                ;;
        esac
    done
    ((${#plain})) && _describe -t words runengine plain
    ((${#open})) && _describe -t words runengine open -S ''
    ((files)) && _files
    ((directories)) && _files -/
}
if [ "${funcstack[1]}" = _runengine ]; then
    _runengine "$@"
else
    compdef _runengine runengine
fi
"""

FISH = r"""# For an alias as well: complete -c docker -w runengine
function __runengine_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (runengine __complete -- $words[2..-1] 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path (commandline -ct)
            case ':directories'
                __fish_complete_directories (commandline -ct)
            case ':nospace'
            case '*'
                echo $line
        end
    end
end
complete -c runengine -f -a '(__runengine_complete)'
"""

SCRIPTS = {"bash": BASH, "fish": FISH, "zsh": ZSH}
