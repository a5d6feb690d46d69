// SPDX-License-Identifier: Apache-2.0
/* A closed loop of calls: DEPTH calls in flight for SECONDS, each reply followed by the next call.
 *
 * load DESTINATION PATH INTERFACE MEMBER ARGUMENT DEPTH SECONDS CONTAINERS
 *
 * ARGUMENT: "" for no argument, "i" for a descriptor, "s" for an id, "=TEXT" for that string.
 * Descriptors and ids rotate over the containers, so that no two calls in flight are about the same
 * one. It prints one line: calls, failures, seconds, and the 50th and 99th percentile of the
 * latencies in microseconds. It fails after five seconds without a reply.
 */
#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "names.h"

#define MAX_CALLS (1 << 22)

static sd_bus *bus;
static char **ask; /* argv */
static int containers, turn, in_flight;
static uint32_t *latencies;
static size_t done, failed;
static uint64_t until;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

static int answered(sd_bus_message *answer, void *userdata, sd_bus_error *error);

static void call(void) {
    sd_bus_message *message = NULL;
    char id[32];
    turn = turn % containers + 1;
    must(sd_bus_message_new_method_call(bus, &message, ask[1], ask[2], ask[3], ask[4]), "new call");
    if (ask[5][0] == 'i')
        must(sd_bus_message_append(message, "i", turn), "append");
    else if (ask[5][0] == 's') {
        snprintf(id, sizeof id, ID_FORMAT, turn);
        must(sd_bus_message_append(message, "s", id), "append");
    } else if (ask[5][0] == '=')
        must(sd_bus_message_append(message, "s", ask[5] + 1), "append");
    must(sd_bus_call_async(bus, NULL, message, answered, (void *) (uintptr_t) now(), 0), "call");
    sd_bus_message_unref(message);
    in_flight++;
}

static int answered(sd_bus_message *answer, void *userdata, sd_bus_error *error) {
    (void) error;
    uint64_t at = now();
    in_flight--;
    if (sd_bus_message_is_method_error(answer, NULL) && !failed++)
        fprintf(stderr, "%s\n", sd_bus_message_get_error(answer)->message);
    if (done < MAX_CALLS)
        latencies[done++] = (uint32_t) (at - (uint64_t) (uintptr_t) userdata);
    if (at < until)
        call();
    return 0;
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
    return (x > y) - (x < y);
}

static double percentile(double part) {
    return done ? latencies[(size_t) (part * (double) (done - 1))] / 1e3 : 0;
}

int main(int count, char **arguments) {
    if (count != 9) {
        fprintf(stderr,
                "load DESTINATION PATH INTERFACE MEMBER ARGUMENT DEPTH SECONDS CONTAINERS\n");
        return 64;
    }
    ask = arguments;
    containers = atoi(arguments[8]);
    latencies = malloc(MAX_CALLS * sizeof *latencies);
    bus = open_bus();
    uint64_t began = now();
    until = began + (uint64_t) (atof(arguments[7]) * 1e9);
    for (int i = 0; i < atoi(arguments[6]); i++)
        call();
    while (in_flight) {
        int busy = must(sd_bus_process(bus, NULL), "process");
        if (!busy)
            must(sd_bus_wait(bus, 5000000), "wait");
        if (!busy && now() > until + 5000000000u)
            must(-ETIMEDOUT, "answers");
    }
    double seconds = (double) (now() - began) / 1e9;
    qsort(latencies, done, sizeof *latencies, ascending);
    printf("%zu %zu %.6f %.2f %.2f\n", done, failed, seconds, percentile(0.5), percentile(0.99));
}
