// SPDX-License-Identifier: Apache-2.0
/* A backend that speaks Dobby's protocol as fast as possible, so that it hides no cost of a bridge.
 *
 * backend CONTAINERS
 *
 * It has the containers bench1 to benchN, all running. A start sends Started, then its reply. A
 * stop sends its reply, then StoppedWithStatus and Stopped (docs/dobby.md, Signals and their
 * order). bench.Storm(n) starts and stops storm1 to stormN at full speed. bench.Calls() returns
 * the number of calls received.
 */
#include <stdint.h>

#include "names.h"

#define RUNNING 2
#define MAX_CONTAINERS 1024
#define EXITED_WITH_3 0x300

static char ids[MAX_CONTAINERS][132]; /* by descriptor; "" if unused */
static uint64_t calls;

static int free_descriptor(void) {
    for (int d = 1; d < MAX_CONTAINERS; d++)
        if (!ids[d][0])
            return d;
    return -1;
}

static bool is_known(int descriptor) {
    return descriptor > 0 && descriptor < MAX_CONTAINERS && ids[descriptor][0];
}

static int signal_started(sd_bus *bus, int descriptor, const char *id) {
    return sd_bus_emit_signal(bus, DOBBY_PATH, DOBBY_CTRL, "Started", "is", descriptor, id);
}

static int signal_stopped(sd_bus *bus, int descriptor, const char *id) {
    must(sd_bus_emit_signal(bus, DOBBY_PATH, DOBBY_CTRL, "StoppedWithStatus", "isi", descriptor, id,
                            EXITED_WITH_3),
         "signal");
    return sd_bus_emit_signal(bus, DOBBY_PATH, DOBBY_CTRL, "Stopped", "is", descriptor, id);
}

static int ping(sd_bus_message *call, void *userdata, sd_bus_error *error) {
    (void) userdata, (void) error;
    return sd_bus_reply_method_return(call, "");
}

static int get_state(sd_bus_message *call, void *userdata, sd_bus_error *error) {
    (void) userdata, (void) error;
    int descriptor;
    must(sd_bus_message_read(call, "i", &descriptor), "read");
    calls++;
    return sd_bus_reply_method_return(call, "i", is_known(descriptor) ? RUNNING : 0);
}

static int list(sd_bus_message *call, void *userdata, sd_bus_error *error) {
    (void) userdata, (void) error;
    sd_bus_message *reply = NULL;
    calls++;
    must(sd_bus_message_new_method_return(call, &reply), "reply");
    must(sd_bus_message_open_container(reply, 'a', "i"), "open");
    for (int d = 1; d < MAX_CONTAINERS; d++)
        if (ids[d][0])
            must(sd_bus_message_append(reply, "i", d), "append");
    must(sd_bus_message_close_container(reply), "close");
    must(sd_bus_message_open_container(reply, 'a', "s"), "open");
    for (int d = 1; d < MAX_CONTAINERS; d++)
        if (ids[d][0])
            must(sd_bus_message_append(reply, "s", ids[d]), "append");
    must(sd_bus_message_close_container(reply), "close");
    must(sd_bus_send(NULL, reply, NULL), "send");
    sd_bus_message_unref(reply);
    return 1;
}

static int start(sd_bus_message *call, void *userdata, sd_bus_error *error) {
    (void) userdata, (void) error;
    const char *id;
    int descriptor = free_descriptor();
    calls++;
    must(sd_bus_message_read(call, "s", &id), "read");
    if (descriptor > 0) {
        snprintf(ids[descriptor], sizeof ids[0], "%s", id);
        must(signal_started(sd_bus_message_get_bus(call), descriptor, id), "signal");
    }
    return sd_bus_reply_method_return(call, "i", descriptor);
}

static int stop(sd_bus_message *call, void *userdata, sd_bus_error *error) {
    (void) userdata, (void) error;
    int descriptor;
    calls++;
    must(sd_bus_message_read(call, "i", &descriptor), "read");
    bool known = is_known(descriptor);
    must(sd_bus_reply_method_return(call, "b", known), "reply");
    if (known) {
        must(signal_stopped(sd_bus_message_get_bus(call), descriptor, ids[descriptor]), "signal");
        ids[descriptor][0] = 0;
    }
    return 1;
}

static int storm(sd_bus_message *call, void *userdata, sd_bus_error *error) {
    (void) userdata, (void) error;
    int count;
    char id[32];
    must(sd_bus_message_read(call, "i", &count), "read");
    for (int i = 1; i <= count; i++) {
        int descriptor = free_descriptor();
        snprintf(id, sizeof id, "storm%d", i);
        must(signal_started(sd_bus_message_get_bus(call), descriptor, id), "signal");
        must(signal_stopped(sd_bus_message_get_bus(call), descriptor, id), "signal");
    }
    return sd_bus_reply_method_return(call, "");
}

static int count_calls(sd_bus_message *call, void *userdata, sd_bus_error *error) {
    (void) userdata, (void) error;
    return sd_bus_reply_method_return(call, "t", calls);
}

static const sd_bus_vtable CTRL[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("List", "", "aias", list, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("GetState", "i", "i", get_state, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("StartFromBundle", "ssahssasuu", "i", start, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("Stop", "ib", "b", stop, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};
static const sd_bus_vtable ADMIN[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("Ping", "", "", ping, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};
static const sd_bus_vtable BENCH[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("Storm", "i", "", storm, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("Calls", "", "t", count_calls, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

int main(int count, char **arguments) {
    int containers = count > 1 ? atoi(arguments[1]) : 10;
    for (int d = 1; d <= containers && d < MAX_CONTAINERS; d++)
        snprintf(ids[d], sizeof ids[0], ID_FORMAT, d);
    sd_bus *bus = open_bus();
    must(sd_bus_add_object_vtable(bus, NULL, DOBBY_PATH, DOBBY_CTRL, CTRL, NULL), "serve");
    must(sd_bus_add_object_vtable(bus, NULL, DOBBY_PATH, DOBBY_ADMIN, ADMIN, NULL), "serve");
    must(sd_bus_add_object_vtable(bus, NULL, DOBBY_PATH, "org.rdk.dobby.bench", BENCH, NULL),
         "serve");
    must(sd_bus_request_name(bus, DOBBY_SERVICE, 0), "take the name");
    must(sd_bus_emit_signal(bus, DOBBY_PATH, DOBBY_ADMIN, "Ready", ""), "signal");
    serve(bus);
}
