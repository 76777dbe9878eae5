#include "app/signals.h"

#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/mem.h"

struct signals {
	struct event *event;
	signals_on_signal *on_signal;
	void *arg;
};

static sigset_t obeyed(void)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaddset(&set, numbers[i]);
	return set;
}

static void signals_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct signals *signals = arg;
	struct signalfd_siginfo info;

	(void)what;
	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		signals->on_signal((int)info.ssi_signo, signals->arg);
}

void signals_hold(void)
{
	sigset_t set = obeyed();

	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

struct signals *signals_new(struct event_base *base, signals_on_signal *on_signal, void *arg)
{
	struct signals *signals = xcalloc(1, sizeof(*signals));
	sigset_t set = obeyed();
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

	if (fd < 0)
		abort();
	signals->on_signal = on_signal;
	signals->arg = arg;
	signals->event = event_new(base, fd, EV_READ | EV_PERSIST, signals_on_readable, signals);
	event_add(signals->event, NULL);
	return signals;
}

void signals_free(struct signals *signals)
{
	close(event_get_fd(signals->event));
	event_free(signals->event);
	free(signals);
}
