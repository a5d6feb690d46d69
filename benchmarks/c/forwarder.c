// SPDX-License-Identifier: Apache-2.0
/* The floor of any bridge: forwards getContainerState (s -> ss) as GetState (i -> i).
 *
 * Asynchronously, and without any checks.
 *
 * forwarder NAME
 */
#include "names.h"

static const char *const STATES[] = {"Invalid", "Starting",    "Running",    "Stopping",
                                     "Paused",  "Hibernating", "Hibernated", "Awakening"};

static int answered(sd_bus_message *answer, void *userdata, sd_bus_error *error) {
    (void) error;
    sd_bus_message *call = userdata;
    const char *id;
    int state, result;
    if (sd_bus_message_is_method_error(answer, NULL))
        result = sd_bus_reply_method_error(call, sd_bus_message_get_error(answer));
    else if (sd_bus_message_read(answer, "i", &state) < 0 || state < 0 || state > 7)
        result = sd_bus_reply_method_errorf(call, SD_BUS_ERROR_FAILED, "not a state");
    else {
        must(sd_bus_message_rewind(call, true), "rewind");
        must(sd_bus_message_read(call, "s", &id), "read again");
        result = sd_bus_reply_method_return(call, "ss", id, STATES[state]);
    }
    sd_bus_message_unref(call);
    return result;
}

static int called(sd_bus_message *call, void *userdata, sd_bus_error *error) {
    (void) userdata;
    const char *id;
    int descriptor, result = sd_bus_message_read(call, "s", &id);
    if (result < 0)
        return result;
    if (sscanf(id, ID_FORMAT, &descriptor) != 1)
        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "no such container");
    result = sd_bus_call_method_async(sd_bus_message_get_bus(call), NULL, DOBBY_SERVICE, DOBBY_PATH,
                                      DOBBY_CTRL, "GetState", answered, sd_bus_message_ref(call),
                                      "i", descriptor);
    return result < 0 ? result : 1;
}

static const sd_bus_vtable MEMBERS[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("getContainerState", "s", "ss", called, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

int main(int count, char **arguments) {
    sd_bus *bus = open_bus();
    must(sd_bus_add_object_vtable(bus, NULL, BRIDGE_PATH, BRIDGE_INTERFACE, MEMBERS, NULL),
         "serve");
    const char *name = count > 1 ? arguments[1] : "org.rdk.CForwarder";
    must(sd_bus_request_name(bus, name, 0), "take the name");
    serve(bus);
}
