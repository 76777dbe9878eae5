#include "app/systemd.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "temp.h"
#include "test.h"

/* ---- To systemd. */

/* A socket that hears what is said to NOTIFY_SOCKET, which is set to `path`, `@` for a NUL. */
static int open_ear(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(address.sun_path, path, strlen(path));
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	else
		len++;
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0)
		abort();
	setenv("NOTIFY_SOCKET", path, 1);
	return fd;
}

/* What was said; empty: nothing. */
static const char *hear(int fd)
{
	static char text[256];
	ssize_t len = recv(fd, text, sizeof(text) - 1, 0);

	text[len < 0 ? 0 : len] = '\0';
	return text;
}

static void says_it_to_a_path(void)
{
	_cleanup_free_ char *path = temp_path("notify");
	int fd = open_ear(path);

	CHECK(systemd_is_listening());
	CHECK_INT(systemd_notify("READY=1\nSTATUS=fine"), 0);
	CHECK_STR(hear(fd), "READY=1\nSTATUS=fine");
	close(fd);
	CHECK_INT(systemd_notify("READY=1"), -ECONNREFUSED);
	unlink(path);
	CHECK_INT(systemd_notify("READY=1"), -ENOENT);
}

static void says_it_to_an_abstract_socket(void)
{
	_cleanup_str_ struct str path = STR_NULL;
	int fd;

	str_addf(&path, "@andiron-unit-%d", (int)getpid());
	fd = open_ear(str_text(&path));
	CHECK_INT(systemd_notify("STOPPING=1"), 0);
	CHECK_STR(hear(fd), "STOPPING=1");
	close(fd);
}

static void a_reload_has_its_instant(void)
{
	_cleanup_free_ char *path = temp_path("reload");
	int fd = open_ear(path);
	msec_t before = clock_mono();
	long long at_us = 0;

	CHECK_INT(systemd_notify_reloading(), 0);
	CHECK_INT(sscanf(hear(fd), "RELOADING=1\nMONOTONIC_USEC=%lld", &at_us), 1);
	CHECK(at_us / 1000 >= before && at_us / 1000 <= clock_mono());
	close(fd);
}

static void without_systemd_nothing_is_said(void)
{
	unsetenv("NOTIFY_SOCKET");
	CHECK(!systemd_is_listening());
	CHECK_INT(systemd_notify("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	CHECK(!systemd_is_listening());
}

static void what_is_no_socket_is_an_error(void)
{
	char longest[200];

	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	for (size_t i = 0; i < 4; i++) {
		const char *path[] = {"relative", "@", "/", longest};

		ROW("%.20s", path[i]);
		setenv("NOTIFY_SOCKET", path[i], 1);
		CHECK_INT(systemd_notify("READY=1"), -EINVAL);
	}
}

/* ---- From systemd. */

static const char *own_pid(void)
{
	static char text[24];

	snprintf(text, sizeof(text), "%d", (int)getpid());
	return text;
}

/* NULL: it is not set. */
static void set(const char *name, const char *value)
{
	if (value)
		setenv(name, value, 1);
	else
		unsetenv(name);
}

static void the_watchdog_has_its_time(void)
{
	const struct {
		const char *period, *pid;
		msec_t expected;
	} rows[] = {
		{"30000000", own_pid(), 30000},
		{"30000000", NULL, 30000}, /* of a manager that does not say for whom */
		{"1500", own_pid(), 1},
		{"1", own_pid(), 1},
		{"30000000", "1", 0}, /* for another process */
		{"30000000", "", 0},
		{"30000000", "x", 0},
		{"0", own_pid(), 0},
		{"-5", own_pid(), 0},
		{"3s", own_pid(), 0},
		{"99999999999999999999", own_pid(), 0},
		{NULL, own_pid(), 0},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s for %s", rows[i].period, rows[i].pid);
		set("WATCHDOG_USEC", rows[i].period);
		set("WATCHDOG_PID", rows[i].pid);
		CHECK_INT(systemd_watchdog_ms(), rows[i].expected);
	}
}

static void descriptors_are_counted(void)
{
	const struct {
		const char *count, *pid, *names;
		size_t expected;
		const char *expected_names;
	} rows[] = {
		{"1", own_pid(), "andiron.socket", 1, "andiron.socket"},
		{"2", own_pid(), "a:b", 2, "a:b"},
		{"2", own_pid(), NULL, 2, NULL},
		{"2", "1", "a:b", 0, NULL}, /* for another process */
		{"2", NULL, "a:b", 0, NULL},
		{"0", own_pid(), NULL, 0, NULL},
		{NULL, own_pid(), NULL, 0, NULL},
		{"two", own_pid(), NULL, 0, NULL},
		{"-1", own_pid(), NULL, 0, NULL},
		{"1000000", own_pid(), NULL, 0, NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *names = NULL;

		ROW("%s for %s", rows[i].count, rows[i].pid);
		set("LISTEN_FDS", rows[i].count);
		set("LISTEN_PID", rows[i].pid);
		set("LISTEN_FDNAMES", rows[i].names);
		CHECK_INT(systemd_take_fds(&names), rows[i].expected);
		CHECK_STR(names, rows[i].expected_names);
		CHECK(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID") && !getenv("LISTEN_FDNAMES"));
	}
}

static void children_do_not_get_them(void)
{
	_cleanup_free_ char *names = NULL;
	int pipes[2];

	if (pipe(pipes) != 0 || dup2(pipes[0], SYSTEMD_FIRST_FD) < 0)
		abort();
	CHECK_INT(fcntl(SYSTEMD_FIRST_FD, F_GETFD), 0);
	set("LISTEN_FDS", "1");
	set("LISTEN_PID", own_pid());
	CHECK_INT(systemd_take_fds(&names), 1);
	CHECK_INT(fcntl(SYSTEMD_FIRST_FD, F_GETFD), FD_CLOEXEC);
}

TEST_MAIN(TEST(says_it_to_a_path), TEST(says_it_to_an_abstract_socket),
	TEST(a_reload_has_its_instant), TEST(without_systemd_nothing_is_said),
	TEST(what_is_no_socket_is_an_error), TEST(the_watchdog_has_its_time),
	TEST(descriptors_are_counted), TEST(children_do_not_get_them))
