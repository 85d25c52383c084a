/* The client of balancing.py: requests set out when they are due, whatever became of those before them.
 *
 *     client PORT CONNECTIONS < plan > outcomes
 *
 * A line of the plan is DUE_MICROSECONDS URL SESSION, in order; an outcome is BACKEND WAIT_MICROSECONDS, in the same
 * order: from when the request was due to its answer. A session keeps the last cookie that it was given. Every
 * connection has a thread, which takes the next request and sleeps until that is due; while all of them wait for
 * answers, requests wait too. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUESTS_MAX = 1 << 20, SESSIONS_MAX = 1024, CONNECTIONS_MAX = 1024, COOKIE_MAX = 256, PATIENCE = 20 };

struct request {
    double due;
    int url, session, backend;
    double wait;
};

static struct request requests[REQUESTS_MAX];
static int count, next;
static char cookies[SESSIONS_MAX][COOKIE_MAX];
static double beginning; /* monotonic seconds */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void sleep_until(double end) {
    struct timespec time = {.tv_sec = (time_t)end, .tv_nsec = (long)((end - (time_t)end) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL))
        ;
}

static struct request *take(void) {
    struct request *taken;
    pthread_mutex_lock(&lock);
    taken = next < count ? &requests[next++] : NULL;
    pthread_mutex_unlock(&lock);
    return taken;
}

static void send_request(int connection, const struct request *request) {
    char message[512];
    int length;
    pthread_mutex_lock(&lock);
    length = snprintf(message, sizeof message, "GET /r/%d HTTP/1.1\r\nHost: bench\r\n%s%s%s\r\n", request->url,
                      cookies[request->session][0] ? "Cookie: " : "", cookies[request->session],
                      cookies[request->session][0] ? "\r\n" : "");
    pthread_mutex_unlock(&lock);
    if (write(connection, message, length) != length)
        fail("a request could not be sent");
}

/* Where the value of a field begins, or NULL. */
static const char *field(const char *head, const char *name) {
    const char *found = strcasestr(head, name);
    return found ? found + strlen(name) + strspn(found + strlen(name), " ") : NULL;
}

static void keep_cookie(int session, const char *cookie) {
    size_t length = strcspn(cookie, ";\r");
    if (length >= COOKIE_MAX)
        fail("a cookie is too long");
    pthread_mutex_lock(&lock);
    memcpy(cookies[session], cookie, length);
    cookies[session][length] = 0;
    pthread_mutex_unlock(&lock);
}

static void read_answer(int connection, struct request *request) {
    char answer[4096];
    const char *end = NULL, *size, *backend, *cookie;
    ssize_t length = 0, received;
    do {
        received = read(connection, answer + length, sizeof answer - 1 - length);
        if (received <= 0)
            fail(received ? "a request was not answered in time" : "a connection was closed");
        length += received;
        answer[length] = 0;
        end = strstr(answer, "\r\n\r\n");
    } while (!end || !(size = field(answer, "\r\nContent-Length:")) || answer + length < end + 4 + atoi(size));
    if (strncmp(answer, "HTTP/1.1 200 ", 13) || !(backend = field(answer, "\r\nX-Backend:")))
        fail("an answer is not a backend's");
    request->backend = atoi(backend);
    if ((cookie = field(answer, "\r\nSet-Cookie:")))
        keep_cookie(request->session, cookie);
}

static void *ask(void *argument) {
    int connection = (int)(intptr_t)argument;
    struct request *request;
    while ((request = take())) {
        double due = beginning + request->due;
        sleep_until(due);
        send_request(connection, request);
        read_answer(connection, request);
        request->wait = now() - due;
    }
    return NULL;
}

static int connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = PATIENCE};
    int connection = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(connection, (struct sockaddr *)&address, sizeof address))
        fail("the balancer takes no connection");
    return connection;
}

static void read_plan(void) {
    struct request *request = requests;
    while (count < REQUESTS_MAX && scanf("%lf %d %d", &request->due, &request->url, &request->session) == 3) {
        if (request->session < 0 || request->session >= SESSIONS_MAX)
            fail("a session is out of range");
        request->due /= 1e6;
        request = &requests[++count];
    }
}

int main(int arguments_count, char **arguments) {
    pthread_t threads[CONNECTIONS_MAX];
    int sockets[CONNECTIONS_MAX], connections, each;
    if (arguments_count != 3 || (connections = atoi(arguments[2])) < 1 || connections > CONNECTIONS_MAX)
        fail("usage: client PORT CONNECTIONS");
    read_plan();
    prctl(PR_SET_TIMERSLACK, 1UL); /* nanosecond, of the threads too */
    for (each = 0; each < connections; each++)
        sockets[each] = connect_to(atoi(arguments[1]));
    beginning = now();
    for (each = 0; each < connections; each++)
        if (pthread_create(&threads[each], NULL, ask, (void *)(intptr_t)sockets[each]))
            fail("no more threads");
    for (each = 0; each < connections; each++)
        pthread_join(threads[each], NULL);
    for (each = 0; each < count; each++)
        printf("%d %.0f\n", requests[each].backend, requests[each].wait * 1e6);
    return 0;
}
