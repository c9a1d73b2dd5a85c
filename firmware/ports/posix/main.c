/* The firmware as a program: the host on a socket or a pty, the front end on a socket or inside.
 *
 * A simulated board stays alive when its host goes away, as a real one does: it goes on until the dead-man timer has
 * grounded the lines, and only then ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "afe_free.h"
#include "afe_line.h"
#include "controller.h"

enum { RX_BYTES = 65535, OUT_ROOM = 8192 }; /* what the host may have on its way to us; what waits for the host */

static const char usage[] = "usage: eapu-firmware (--host-fd N | --pty) (--afe-fd N | --free ROWSxCOLSxARRAYS) [--serial NAME]\n";

static int host_fd = -1, afe_fd = -1;
static bool free_front_end, host_gone;
static uint8_t out[OUT_ROOM];
static size_t out_count;
static controller_t controller;
static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "eapu-firmware: %s: %s\n", what, strerror(errno));
    exit(1);
}

uint64_t port_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void flush(void)
{
    size_t sent = 0;
    while (sent < out_count && !host_gone) {
        const ssize_t count = write(host_fd, out + sent, out_count - sent);
        if (count >= 0)
            sent += (size_t)count;
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            host_gone = true;
    }
    memmove(out, out + sent, out_count - sent);
    out_count -= sent;
}

void port_send(const uint8_t *bytes, size_t count)
{
    if (host_gone || count > OUT_ROOM - out_count)
        return;
    memcpy(out + out_count, bytes, count);
    out_count += count;
}

bool afe_line_write(const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        const ssize_t sent = write(afe_fd, bytes, count);
        if (sent >= 0) {
            bytes += sent;
            count -= (size_t)sent;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

size_t afe_line_read(uint8_t *bytes, size_t room, uint64_t deadline_us)
{
    for (;;) {
        struct pollfd wait = {afe_fd, POLLIN, 0};
        const uint64_t now_us = port_now_us();
        if (now_us >= deadline_us)
            return 0;
        if (poll(&wait, 1, (int)((deadline_us - now_us) / 1000u) + 1) > 0) {
            const ssize_t count = read(afe_fd, bytes, room);
            if (count >= 0)
                return (size_t)count;
            if (errno != EINTR)
                return 0;
        }
    }
}

bool afe_exchange(afe_message_t *message)
{
    if (free_front_end) {
        afe_free_answer(message);
        return true;
    }
    if (!afe_line_exchange(message))
        return false;
    if (message->type == MSG_AFE_FAILED && message->size == AFE_FAILED_SIZE)
        fprintf(stderr, "eapu-firmware: front end: %.64s\n", (const char *)message->payload + sizeof(uint64_t));
    return true;
}

/* The host's end is the pty's slave. Ours stays open too, so that the board outlives a host that closes it. */
static int open_pty(void)
{
    struct termios raw;
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master))
        fail("pty");
    const int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0 || tcgetattr(slave, &raw))
        fail("pty");
    cfmakeraw(&raw);
    if (tcsetattr(slave, TCSANOW, &raw))
        fail("pty");
    printf("%s\n", ptsname(master));
    fflush(stdout);
    return master;
}

static int open_fd(const char *text)
{
    char *end;
    const long fd = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || fd < 0 || fd > INT_MAX || fcntl((int)fd, F_GETFD) < 0) {
        errno = EBADF;
        fail(text);
    }
    return (int)fd;
}

static bool start_free(const char *text)
{
    unsigned rows, cols, arrays;
    int end = 0;
    free_front_end = true;
    return sscanf(text, "%3ux%3ux%3u%n", &rows, &cols, &arrays, &end) == 3 && text[end] == '\0' &&
           afe_free_start(rows, cols, arrays);
}

static bool configure(int argc, char **argv, port_identity_t *identity)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--pty") == 0 && host_fd < 0)
            host_fd = open_pty();
        else if (i + 1 == argc)
            return false;
        else if (strcmp(argv[i], "--host-fd") == 0 && host_fd < 0)
            host_fd = open_fd(argv[++i]);
        else if (strcmp(argv[i], "--afe-fd") == 0 && afe_fd < 0)
            afe_fd = open_fd(argv[++i]);
        else if (strcmp(argv[i], "--free") == 0 && !free_front_end && start_free(argv[i + 1]))
            i++;
        else if (strcmp(argv[i], "--serial") == 0 && strlen(argv[i + 1]) <= 16)
            identity->serial = argv[++i];
        else
            return false;
    }
    return host_fd >= 0 && (afe_fd >= 0) != free_front_end;
}

static void listen_host(void)
{
    uint8_t bytes[1024];
    const ssize_t count = read(host_fd, bytes, sizeof bytes);
    if (count > 0)
        controller_receive(&controller, bytes, (size_t)count);
    else if (count == 0 || (errno != EAGAIN && errno != EINTR))
        host_gone = true;
}

int main(int argc, char **argv)
{
    port_identity_t identity = {"posix", "posix", RESET_CAUSE_POWER, 0, RX_BYTES};
    const struct sigaction on_stop = {.sa_handler = stop}, ignored = {.sa_handler = SIG_IGN};

    if (!configure(argc, argv, &identity)) {
        fputs(usage, stderr);
        return 2;
    }
    (void)sigaction(SIGTERM, &on_stop, NULL);
    (void)sigaction(SIGINT, &on_stop, NULL);
    (void)sigaction(SIGPIPE, &ignored, NULL);
    if (fcntl(host_fd, F_SETFL, fcntl(host_fd, F_GETFL) | O_NONBLOCK) < 0)
        fail("host");
    if (getentropy(&identity.session, sizeof identity.session))
        fail("entropy");

    controller_init(&controller, &identity);
    /* Without a host, FAULT is the end too: the lines were grounded, or the front end does not answer. */
    while (!stopped && !(host_gone && (controller_resting(&controller) || controller.fault != FAULT_NONE))) {
        struct pollfd wait = {host_gone ? -1 : host_fd, POLLIN, 0};
        if (out_count > 0)
            wait.events |= POLLOUT;
        if (poll(&wait, 1, controller_idle(&controller) ? 1 : 0) > 0 && wait.revents & (POLLIN | POLLHUP | POLLERR))
            listen_host();
        controller_poll(&controller);
        flush();
    }
    return controller_resting(&controller) || afe_ground() ? 0 : 1;
}
