"""The completion scripts of the shells.

A script asks the command for candidates at each TAB, so they are always those of the installed version
and its plugins. click answers: `shell_completion.py` there has the protocol of each shell. The scripts are
our own because click's bash script expands `*` in words and breaks under a path with blanks or a tilde.
"""

from __future__ import annotations

_BASH = r"""# Completes trioworkers in bash 4.4 or later. Printed by `trioworkers completion bash`.
_trioworkers() {
    local answer kind value program=${1/#\~\//$HOME/}
    COMPREPLY=()
    answer=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \
        _TRIOWORKERS_COMPLETE=bash_complete "$program" 2>/dev/null) || return 0
    while IFS=, read -r kind value; do
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
        esac
    done <<<"$answer"
}
complete -o nosort -F _trioworkers trioworkers
"""

_ZSH = r"""#compdef trioworkers
# Completes trioworkers in zsh. Printed by `trioworkers completion zsh`.
_trioworkers() {
    local kind value text
    local -a answer found
    answer=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \
        _TRIOWORKERS_COMPLETE=zsh_complete ${~words[1]} 2>/dev/null)}")
    for kind value text in "${answer[@]}"; do
        case $kind in
            plain) [[ $text == _ ]] && found+=("${value//:/\\:}") || found+=("$value:$text") ;;
            dir) _files -/ ;;
            file) _files ;;
        esac
    done
    (( $#found )) && _describe -V trioworkers found
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _trioworkers "$@"
else
    compdef _trioworkers trioworkers
fi
"""

_FISH = r"""# Completes trioworkers in fish. Printed by `trioworkers completion fish`.
function __trioworkers_complete
    set -l program (string replace -r '^~/' "$HOME/" -- (commandline -opc)[1])
    set -l line (commandline -cp | string collect)
    set -l word (commandline -ct | string collect)
    set -l asked "COMP_WORDS=$line" "COMP_CWORD=$word" _TRIOWORKERS_COMPLETE=fish_complete
    for answer in (env $asked $program 2>/dev/null)
        set -l parts (string split -m 1 , -- $answer)
        switch $parts[1]
            case plain
                printf '%s\n' $parts[2]
            case dir
                __fish_complete_directories $word
            case file
                __fish_complete_path $word
        end
    end
end
complete --command trioworkers --no-files --arguments '(__trioworkers_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""By shell. `docs/manual.py` writes them below `share/`, from where packages install them."""
