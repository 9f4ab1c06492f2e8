/* Packets as fast as one core sends them: a kernel hands a packet from veth to
 * veth within the sender's own system call, so CPU time per packet is the whole
 * cost of its path. Sockets are made by the caller, each in its namespace.
 *
 * Every function works for some seconds and returns what arrived per second of
 * the calling thread's CPU time, or a negative errno.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SENT 32
#define TAKEN 64
#define SIZE 18

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

#define WALL now(CLOCK_MONOTONIC)
#define CPU now(CLOCK_THREAD_CPUTIME_ID)

double datagrams(int sender, int receiver, double seconds)
{
	static char out[SIZE], in[TAKEN][TAKEN];
	struct iovec one = {out, SIZE}, many[TAKEN];
	struct mmsghdr sent[SENT] = {0}, taken[TAKEN] = {0};
	long arrived = 0;

	for (int i = 0; i < SENT; i++) {
		sent[i].msg_hdr.msg_iov = &one;
		sent[i].msg_hdr.msg_iovlen = 1;
	}
	for (int i = 0; i < TAKEN; i++) {
		many[i] = (struct iovec){in[i], sizeof in[i]};
		taken[i].msg_hdr.msg_iov = &many[i];
		taken[i].msg_hdr.msg_iovlen = 1;
	}
	double end = WALL + seconds, began = CPU;
	while (WALL < end) {
		int got;

		if (sendmmsg(sender, sent, SENT, 0) < 0)
			return -errno;
		while ((got = recvmmsg(receiver, taken, TAKEN, MSG_DONTWAIT, 0)) > 0)
			arrived += got;
	}
	return arrived / (CPU - began);
}

double round_trips(int client, int server, double seconds)
{
	double end = WALL + seconds, began = CPU;
	long done = 0;
	char byte = 0;

	while (WALL < end)
		for (int i = 0; i < 16; i++, done++)
			if (send(client, &byte, 1, 0) != 1 || recv(server, &byte, 1, 0) != 1 ||
			    send(server, &byte, 1, 0) != 1 || recv(client, &byte, 1, 0) != 1)
				return -errno;
	return done / (CPU - began);
}

/* The calling thread is where the connections begin. */
double connections(int listener, unsigned address, unsigned short port, double seconds)
{
	struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct linger reset = {1, 0};
	struct pollfd waiting = {listener, POLLIN, 0};
	double end = WALL + seconds, began = CPU;
	long done = 0;

	target.sin_addr.s_addr = htonl(address);
	while (WALL < end) {
		int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

		if (client < 0)
			return -errno;
		if (connect(client, (void *)&target, sizeof target) < 0 && errno != EINPROGRESS)
			return -errno;
		int server = accept4(listener, 0, 0, SOCK_NONBLOCK);
		if (server < 0 && poll(&waiting, 1, 200) == 1)
			server = accept4(listener, 0, 0, SOCK_NONBLOCK);
		setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		close(client);
		if (server >= 0) {
			close(server);
			done++;
		}
	}
	return done / (CPU - began);
}
