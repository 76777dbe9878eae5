#include "app/handover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

static const char *const words[] = {
	[HANDOVER_LISTENER] = "listener",
	[HANDOVER_ADMIN] = "admin",
	[HANDOVER_PASSED] = "passed",
	[HANDOVER_END] = "end",
	[HANDOVER_READY] = "ready",
	[HANDOVER_GO] = "go",
	[HANDOVER_SERVING] = "serving",
	[HANDOVER_YOURS] = "yours",
	[HANDOVER_DRAIN] = "drain",
};

enum { WORD_COUNT = sizeof(words) / sizeof(words[0]) };

/* Of one message: its bytes, and room for one descriptor. */
struct envelope {
	struct msghdr header;
	struct iovec bytes;
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
};

static void wrap(struct envelope *envelope, char *bytes, size_t len)
{
	memset(envelope, 0, sizeof(*envelope));
	envelope->bytes = (struct iovec){bytes, len};
	envelope->header.msg_iov = &envelope->bytes;
	envelope->header.msg_iovlen = 1;
}

/* ---- Sending. */

static void enclose(struct envelope *envelope, int enclosed)
{
	struct cmsghdr *control = &envelope->control.align;

	envelope->header.msg_control = &envelope->control;
	envelope->header.msg_controllen = sizeof(envelope->control.room);
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(control), &enclosed, sizeof(int));
}

/* `enclosed` -1: no descriptor. */
static bool transmit(int fd, enum handover_word word, const char *text, int enclosed)
{
	_cleanup_str_ struct str line = STR_NULL;
	struct envelope envelope;

	str_addf(&line, "%s %s", words[word], text);
	wrap(&envelope, line.data, line.len);
	if (enclosed >= 0)
		enclose(&envelope, enclosed);
	return sendmsg(fd, &envelope.header, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)line.len;
}

bool handover_send(int fd, enum handover_word word, const char *text)
{
	return transmit(fd, word, text, -1);
}

bool handover_send_listener(
	int fd, enum handover_word word, const char *text, const struct listener *listener)
{
	_cleanup_str_ struct str line = STR_NULL;

	str_addf(&line, "%llu %llu %s", (unsigned long long)listener->device,
		(unsigned long long)listener->inode, text);
	return transmit(fd, word, str_text(&line), listener->fd);
}

/* ---- Receiving. */

/* The enclosed descriptor, -1: there is none. */
static int open_envelope(struct envelope *envelope)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(&envelope->header);
	int fd = -1;

	if (control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS &&
		control->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(control), sizeof(fd));
	return fd;
}

/* A number and the space behind it are taken off the front of `text`. */
static bool take_number(char **text, unsigned long long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(*text, &end, 10);
	if (errno || end == *text || *end != ' ')
		return false;
	*text = end + 1;
	return true;
}

static bool read_listener(char *text, int fd, struct handover_message *ret)
{
	unsigned long long device, inode;

	if (!take_number(&text, &device) || !take_number(&text, &inode) ||
		listen_adopt(fd, &ret->listener) != 0)
		return false;
	ret->listener.device = (dev_t)device;
	ret->listener.inode = (ino_t)inode;
	ret->listener.lent = true;
	memcpy(ret->text, text, strlen(text) + 1);
	return true;
}

static bool read_line(char *line, int fd, struct handover_message *ret)
{
	char *space = strchr(line, ' ');

	if (!space)
		return false;
	for (int word = HANDOVER_LISTENER; word < WORD_COUNT; word++) {
		if (str_is(line, (size_t)(space - line), words[word]))
			ret->word = (enum handover_word)word;
	}
	if (ret->word == HANDOVER_READY || ret->word == HANDOVER_END)
		ret->number = strtoll(space + 1, NULL, 10);
	if (ret->word <= HANDOVER_PASSED)
		return ret->word != HANDOVER_NOTHING && read_listener(space + 1, fd, ret);
	return true;
}

void handover_receive(int fd, struct handover_message *ret)
{
	char line[HANDOVER_MAX_TEXT];
	struct envelope envelope;
	ssize_t len;
	int enclosed;

	*ret = (struct handover_message){.word = HANDOVER_NOTHING};
	wrap(&envelope, line, sizeof(line) - 1);
	envelope.header.msg_control = &envelope.control;
	envelope.header.msg_controllen = sizeof(envelope.control.room);
	len = recvmsg(fd, &envelope.header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	enclosed = len > 0 ? open_envelope(&envelope) : -1;
	line[len > 0 ? len : 0] = '\0';
	if (!(envelope.header.msg_flags & MSG_TRUNC) && read_line(line, enclosed, ret))
		return;
	if (enclosed >= 0)
		close(enclosed);
	ret->word = HANDOVER_CLOSED;
}
