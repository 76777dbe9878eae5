# Completion of andiron(1) for fish.

# What is configured, or else what is built in.
function __andiron_profiles
    set -l words (commandline -opc)
    set -l config
    for i in (seq 2 (count $words))
        switch $words[$i]
            case -c --config
                test $i -lt (count $words); and set config -c $words[(math $i + 1)]
            case '--config=*'
                set config -c (string replace -- --config= '' $words[$i])
        end
    end
    set -l names ($words[1] check $config 2>/dev/null | string replace -rf '^\[profile\.(.*)\]$' '$1')
    test (count $names) -gt 0; or set names default interactive agentic large batch control
    printf '%s\n' $names
end

set -l first "not __fish_seen_subcommand_from run check demo help"
complete -c andiron -f
complete -c andiron -n $first -a run -d 'Run in the foreground (the default)'
complete -c andiron -n $first -a check -d 'Print the effective configuration, or every mistake in it'
complete -c andiron -n $first -a demo -d 'Run with a simulated Fireworks that fails on purpose'
complete -c andiron -n $first -a help -d 'A summary of commands and flags'
complete -c andiron -s c -l config -rF -d 'The configuration'
complete -c andiron -l listen -x -d 'Addresses to listen on'
complete -c andiron -l upstream -x -d "The first upstream's URL"
complete -c andiron -l profile -x -a '(__andiron_profiles)' -d "The first upstream's profile"
complete -c andiron -l workers -x -a auto -d 'Event loops'
complete -c andiron -l log-level -x -a 'error warning info debug' -d "andiron's own messages"
complete -c andiron -l event-log -rF -a 'stderr stdout off' -d 'Where the event log goes'
complete -c andiron -l admin -x -a '127.0.0.1:8788 off' -d 'Health, metrics, status'
complete -c andiron -l live -d 'With check: is the daemon alive'
complete -c andiron -s h -l help -d 'A summary of commands and flags'
complete -c andiron -s V -l version -d Versions
