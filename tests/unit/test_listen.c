#include "net/listen.h"

#include <errno.h>
#include <sys/un.h>

#include "temp.h"
#include "test.h"

static struct address address_of(const char *path)
{
	_cleanup_str_ struct str text = STR_NULL;
	struct address address;

	str_addf(&text, "unix:%s", path);
	if (!address_parse(str_text(&text), &address))
		abort();
	return address;
}

static int open_at(const char *path, mode_t mode, struct listener *ret)
{
	struct address address = address_of(path);

	return listen_open(&address, mode, ret);
}

/* Can somebody connect? */
static bool is_answered(const char *path)
{
	struct address address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answered = connect(fd, &address.any, address.len) == 0;

	close(fd);
	return answered;
}

static bool exists(const char *path)
{
	struct stat file;

	return lstat(path, &file) == 0;
}

static void the_file_has_the_mode(void)
{
	static const mode_t modes[] = {0600, 0660, 0666, 0777, 0}, masks[] = {022, 0777, 0};
	_cleanup_free_ char *path = temp_path("mode.sock");

	for (size_t i = 0; i < COUNT_OF(modes) * COUNT_OF(masks); i++) {
		mode_t mode = modes[i % COUNT_OF(modes)], mask = masks[i / COUNT_OF(modes)];
		mode_t before = umask(mask);
		struct listener listener;
		struct stat file;

		ROW("mode %04o, umask %04o", mode, mask);
		if (CHECK_INT(open_at(path, mode, &listener), 0)) {
			CHECK_INT(lstat(path, &file), 0);
			CHECK_INT(file.st_mode & 07777, mode);
			listen_close(&listener);
			CHECK(!exists(path));
		}
		CHECK_INT(umask(before), mask); /* as it was */
	}
}

static void one_in_use_stays(void)
{
	_cleanup_free_ char *path = temp_path("used.sock");
	struct listener first, second = {.fd = -7};

	CHECK_INT(open_at(path, 0600, &first), 0);
	CHECK_INT(open_at(path, 0600, &second), -EADDRINUSE);
	CHECK_INT(second.fd, -7);
	CHECK(is_answered(path));
	listen_close(&first);
}

/* A datagram socket has no connections, and is somebody's all the same. */
static void one_of_another_type_stays(void)
{
	_cleanup_free_ char *path = temp_path("datagram.sock");
	struct address address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct listener listener;

	CHECK_INT(bind(fd, &address.any, address.len), 0);
	CHECK_INT(open_at(path, 0600, &listener), -EADDRINUSE);
	CHECK(exists(path));
	close(fd);
}

static void a_stale_one_is_replaced(void)
{
	_cleanup_free_ char *path = temp_path("stale.sock");
	struct listener dead, listener;

	CHECK_INT(open_at(path, 0600, &dead), 0);
	close(dead.fd); /* as if by SIGKILL: the file stays */
	CHECK(exists(path) && !is_answered(path));
	CHECK_INT(open_at(path, 0600, &listener), 0);
	CHECK(is_answered(path));
	listen_close(&listener);
	CHECK(!exists(path));
}

static void one_that_replaced_it_stays(void)
{
	_cleanup_free_ char *path = temp_path("replaced.sock");
	struct listener old, new;

	CHECK_INT(open_at(path, 0600, &old), 0);
	CHECK_INT(unlink(path), 0);
	CHECK_INT(open_at(path, 0600, &new), 0);
	listen_close(&old);
	CHECK(is_answered(path));
	listen_close(&new);
	CHECK(!exists(path));
	listen_close(&(struct listener){.fd = -1, .address = new.address}); /* gone already */
}

static void what_is_no_socket_stays(void)
{
	_cleanup_free_ char *file = temp_file("file.sock", "text", 4, 0600);
	_cleanup_free_ char *directory = temp_path("directory.sock"),
			    *link = temp_path("link.sock");
	_cleanup_free_ char *used = temp_path("linked.sock"), *missing = temp_path("none/a.sock");
	struct listener listener, behind;

	CHECK_INT(mkdir(directory, 0700), 0);
	CHECK_INT(open_at(used, 0600, &behind), 0);
	CHECK_INT(symlink(used, link), 0);
	CHECK_INT(open_at(file, 0600, &listener), -ENOTSOCK);
	CHECK_INT(open_at(directory, 0600, &listener), -ENOTSOCK);
	CHECK_INT(open_at(link, 0600, &listener), -ENOTSOCK);
	CHECK_INT(open_at(missing, 0600, &listener), -ENOENT);
	CHECK(exists(file) && exists(directory) && exists(link));
	listen_close(&behind);
}

static void a_port_is_chosen(void)
{
	struct address any;
	struct listener first, second;

	CHECK(address_parse("127.0.0.1:0", &any));
	CHECK_INT(listen_open(&any, 0, &first), 0);
	CHECK(address_port(&first.address) > 0);
	CHECK_INT(listen_open(&first.address, 0, &second), -EADDRINUSE);
	listen_close(&first);
}

/* ---- Somebody else's sockets */

/* One that listens on the address; its flags are those that systemd leaves it. */
static int foreign_socket(const struct address *address, int type, bool listens)
{
	int fd = socket(address->any.sa_family, type, 0);

	if (fd < 0 || bind(fd, &address->any, address->len) != 0 || (listens && listen(fd, 8) != 0))
		abort();
	return fd;
}

static void a_foreign_one_is_adopted(void)
{
	static const char *const texts[] = {"127.0.0.1:0", "[::1]:0"};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct address any;
		struct listener listener;
		int fd;

		ROW("%s", texts[i]);
		CHECK(address_parse(texts[i], &any));
		fd = foreign_socket(&any, SOCK_STREAM, true);
		CHECK_INT(listen_adopt(fd, &listener), 0);
		CHECK_INT(listener.fd, fd);
		CHECK(address_port(&listener.address) > 0);
		CHECK(address_is_loopback(&listener.address));
		CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
		CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
		listen_close(&listener);
		CHECK(fcntl(fd, F_GETFL) < 0);
	}
}

static void a_foreign_file_stays(void)
{
	_cleanup_free_ char *path = temp_path("foreign.sock");
	struct address address = address_of(path);
	struct listener listener;
	int fd = foreign_socket(&address, SOCK_STREAM, true), kept = dup(fd);

	CHECK_INT(listen_adopt(fd, &listener), 0);
	CHECK(address_same(&listener.address, &address));
	listen_close(&listener);
	CHECK(exists(path) && is_answered(path)); /* systemd has it still */
	close(kept);
}

static void an_abstract_one_has_a_name(void)
{
	struct address address = address_of("/andiron-unit");
	char text[ADDRESS_TEXT_SIZE];
	struct listener listener;

	address.local.sun_path[0] = '\0';
	snprintf(address.local.sun_path + 1, 40, "andiron-unit-%d", (int)getpid());
	CHECK_INT(listen_adopt(foreign_socket(&address, SOCK_STREAM, true), &listener), 0);
	address_render(&listener.address, text, sizeof(text));
	CHECK(str_begins(text, "unix:@andiron-unit-"));
	listen_close(&listener);
}

static void what_does_not_listen_is_refused(void)
{
	_cleanup_free_ char *path = temp_path("datagrams.sock");
	_cleanup_free_ char *packets = temp_path("packets.sock");
	struct address any, local = address_of(path), packet = address_of(packets);
	struct listener listener = {.fd = -7};
	int pair[2];

	CHECK(address_parse("127.0.0.1:0", &any));
	CHECK_INT(listen_adopt(foreign_socket(&any, SOCK_STREAM, false), &listener), -EINVAL);
	CHECK_INT(listen_adopt(foreign_socket(&any, SOCK_DGRAM, false), &listener), -EPROTOTYPE);
	CHECK_INT(listen_adopt(foreign_socket(&local, SOCK_DGRAM, false), &listener), -EPROTOTYPE);
	CHECK_INT(listen_adopt(foreign_socket(&packet, SOCK_SEQPACKET, true), &listener),
		-EPROTOTYPE);
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	CHECK_INT(listen_adopt(pair[0], &listener), -EINVAL); /* one connection: Accept=yes */
	CHECK_INT(pipe(pair), 0);
	CHECK_INT(listen_adopt(pair[0], &listener), -ENOTSOCK);
	CHECK_INT(listen_adopt(1000000, &listener), -EBADF);
	CHECK_INT(listener.fd, -7);
}

TEST_MAIN(TEST(the_file_has_the_mode), TEST(one_in_use_stays), TEST(one_of_another_type_stays),
	TEST(a_stale_one_is_replaced), TEST(one_that_replaced_it_stays),
	TEST(what_is_no_socket_stays), TEST(a_port_is_chosen), TEST(a_foreign_one_is_adopted),
	TEST(a_foreign_file_stays), TEST(an_abstract_one_has_a_name),
	TEST(what_does_not_listen_is_refused))
