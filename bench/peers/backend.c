/* A backend for balancing.py: it answers a request after a time drawn from an exponential distribution.
 *
 *     backend PORT NAME WORKERS MEAN_MICROSECONDS SEED
 *
 * It works on so many requests at a time; the others wait, first come, first served. Every connection has a
 * thread, which sleeps until its answer is due. Requests have no bodies and are not pipelined. */
#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS_MAX = 1024, HEAD_MAX = 8192, STACK = 65536 };

static char answer[256];
static int answer_length;
static double mean; /* seconds */
static int workers;
static double free_at[WORKERS_MAX]; /* monotonic seconds at which each worker has done what it was given */
static unsigned short state[3];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* Give the request to the worker that is free first; when it will be done. */
static double assign(void) {
    double begin = now(), end;
    int first = 0;
    pthread_mutex_lock(&lock);
    for (int worker = 1; worker < workers; worker++)
        if (free_at[worker] < free_at[first])
            first = worker;
    if (free_at[first] > begin)
        begin = free_at[first];
    end = free_at[first] = begin - mean * log(1 - erand48(state));
    pthread_mutex_unlock(&lock);
    return end;
}

static void sleep_until(double end) {
    struct timespec time = {.tv_sec = (time_t)end, .tv_nsec = (long)((end - (time_t)end) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL))
        ;
}

static void *serve(void *argument) {
    int connection = (int)(intptr_t)argument;
    char head[HEAD_MAX];
    ssize_t length = 0, received;
    while ((received = read(connection, head + length, sizeof head - length)) > 0) {
        length += received;
        if (length < 4 || memcmp(head + length - 4, "\r\n\r\n", 4))
            continue;
        length = 0;
        sleep_until(assign());
        if (write(connection, answer, answer_length) != answer_length)
            break;
    }
    close(connection);
    return NULL;
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("backend");
        exit(1);
    }
    return listener;
}

int main(int count, char **arguments) {
    pthread_attr_t attributes;
    pthread_t thread;
    int listener, connection;
    if (count != 6 || (workers = atoi(arguments[3])) < 1 || workers > WORKERS_MAX) {
        fprintf(stderr, "usage: backend PORT NAME WORKERS MEAN_MICROSECONDS SEED\n");
        return 2;
    }
    mean = atof(arguments[4]) / 1e6;
    state[0] = (unsigned short)atoi(arguments[5]);
    answer_length = snprintf(answer, sizeof answer,
                             "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n"
                             "X-Backend: %s\r\nContent-Length: 3\r\n\r\nok\n",
                             arguments[2]);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1UL); /* nanosecond, of the threads too */
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (listener = listen_on(atoi(arguments[1]));;)
        if ((connection = accept(listener, NULL, NULL)) >= 0 &&
            pthread_create(&thread, &attributes, serve, (void *)(intptr_t)connection))
            close(connection);
}
