# Completion of andiron(1) for bash.

# Where --profile may point: what is configured, or else what is built in.
_andiron_profiles() {
    local names
    names=$("$1" check ${2:+-c "$2"} 2>/dev/null | sed -n 's/^\[profile\.\(.*\)\]$/\1/p')
    echo "${names:-default interactive agentic large batch control}"
}

_andiron() {
    local commands='run check demo help'
    local flags='--config --listen --upstream --profile --workers --log-level --event-log --admin --live --help --version'
    local word=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD - 1]} words='' command='' file='' i before

    for ((i = 1; i < COMP_CWORD; i++)); do
        before=${COMP_WORDS[i - 1]}
        [ "$before" != = ] || before=${COMP_WORDS[i - 2]}
        case $before in
            -c | --config) file=${COMP_WORDS[i]} ;;
            --listen | --upstream | --profile | --workers | --log-level | --event-log | --admin) ;;
            *) case ${COMP_WORDS[i]} in -* | =) ;; *) command=${COMP_WORDS[i]} ;; esac ;;
        esac
    done
    # bash takes --flag=value for three words.
    if [ "$word" = = ]; then
        word=''
    elif [ "$flag" = = ]; then
        flag=${COMP_WORDS[COMP_CWORD - 2]}
    fi

    COMPREPLY=()
    case $flag in
        -c | --config) compopt -o default ;; # file names
        --profile) words=$(_andiron_profiles "${COMP_WORDS[0]/#\~/$HOME}" "${file/#\~/$HOME}") ;;
        --log-level) words='error warning info debug' ;;
        --event-log)
            if [[ $word = [/~]* ]]; then
                compopt -o default
            else
                words='stderr stdout off'
            fi
            ;;
        --workers) words=auto ;;
        --admin) words='127.0.0.1:8788 off' ;;
        --listen | --upstream) ;;
        *)
            if [[ $word = -* ]]; then
                words=$flags
            elif [ -z "$command" ] || [ "$command" = help ]; then
                words=$commands
            fi
            ;;
    esac
    [ -z "$words" ] || mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _andiron andiron
