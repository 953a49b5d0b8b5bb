# Completes trioworkers in fish. Printed by `trioworkers completion fish`.
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
