/* clang-format off */
/*
 * andiron: a local reverse proxy that holds up the fire.
 *
 * The program in call order. A layer includes its own folder or a lower one:
 * app > admin > proxy > net > config > policy > base.
 *
 *   main
 *     cli_main                    app/cli        command line -> a command
 *       harden                    app/harden     no core images; freed memory is wiped
 *       config_load               config/load    defaults, file, environment, flags -> one snapshot
 *       daemon_run                app/daemon     listeners, TLS contexts, event log, signals;
 *                                                daemon_reload, daemon_upgrade, daemon_end
 *         worker_start            app/worker     one thread, one event loop each
 *           server_new            proxy/server   evhttp, pools, exchanges of that loop
 *         admin_new               admin/admin    health, metrics and status, on the main loop
 *         pulse_ready             app/pulse      tells systemd, and keeps its watchdog quiet
 *
 * A request's walk:
 *
 *   server_on_request             proxy/server   evhttp hands a whole request over
 *     exchange_new                proxy/exchange one request's life; its states stand there
 *       request_init              proxy/request  what is asked, as facts
 *         admission_check         proxy/admission who may ask: access_decide (policy/access: Host,
 *                                                Origin, Sec-Fetch-Site), preflight, client token
 *         path_map, class_of      policy/route, policy/class
 *         route_find              policy/route   header, base URL, route, upstream -> profile
 *         credential_apply        proxy/credential  whose key goes out
 *       client_new                proxy/client   watches the client from here on
 *       exchange_admit            proxy/exchange_turn its turn at the upstream: waiting_start,
 *                                                ticket_enter, turns_enter; or it waits in line
 *       exchange_try              proxy/exchange_try
 *         attempt_start           proxy/attempt  the profile's time-outs; holds the answer back
 *           transport_start       net/transport  a kept channel, or resolver, dial, TLS
 *           attempt_on_head / _on_body / _on_end / _on_failure
 *             stream_feed         proxy/stream   events cut out and judged
 *             answer_judge        proxy/answer   an error that comes with 200
 *         exchange_on_answer      proxy/exchange_try
 *           retry_decide          policy/retry   relay, again in N ms, replace, give up
 *           exchange_commit       proxy/exchange_answer the commit point; relay_start
 *         exchange_on_failure     -> the same retry_decide
 *       exchange_on_patience      proxy/patience signs of life for a stream's client
 *       relay_body                proxy/relay    backpressure both ways
 *       exchange_finish           proxy/exchange event log; the server's reaper frees
 */
/* clang-format on */
#include "app/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
