/* The floor: a bare epoll loop that answers every request head with the same 1 KB response.
 * What it costs is the kernel's share; no server gets below it without changing the socket calls. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BODY = 1024, EVENTS = 256 };

static char response[4096];
static int response_length;

static void make_response(void) {
    response_length = snprintf(response, sizeof response - BODY,
                               "HTTP/1.1 200 OK\r\n"
                               "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                               "Content-Type: application/json\r\n"
                               "X-Cache: HIT\r\n"
                               "X-Cache-Key: cache:%064d\r\n"
                               "Age: 12\r\n"
                               "Content-Length: %d\r\n\r\n",
                               0, BODY);
    memset(response + response_length, 'x', BODY);
    response_length += BODY;
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("floor");
        exit(1);
    }
    return listener;
}

static void watch(int epoll, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

static void answer(int client) {
    char request[16384];
    ssize_t length = read(client, request, sizeof request);
    if (length <= 0)
        close(client);
    else if (memmem(request, length, "\r\n\r\n", 4) && write(client, response, response_length) < 0)
        close(client);
}

int main(int count, char **arguments) {
    int listener = listen_on(count > 1 ? atoi(arguments[1]) : 0), epoll = epoll_create1(0), on = 1;
    struct epoll_event events[EVENTS];
    make_response();
    watch(epoll, listener);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != listener) {
                answer(events[i].data.fd);
                continue;
            }
            int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            watch(epoll, client);
        }
    }
}
