/* Names and helpers that all programs of the benchmark share. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define DOBBY_SERVICE "org.rdk.dobby"
#define DOBBY_PATH "/org/rdk/dobby"
#define DOBBY_CTRL "org.rdk.dobby.ctrl1"
#define DOBBY_ADMIN "org.rdk.dobby.admin1"
#define BRIDGE_PATH "/org/rdk/OCIContainer"
#define BRIDGE_INTERFACE "org.rdk.OCIContainer1"
#define ID_FORMAT "bench%d" /* the container of descriptor N is benchN */

/* Print the error and exit if `result` is one. Returns it otherwise. */
static inline int must(int result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-result));
        exit(1);
    }
    return result;
}

/* The bus of DBUS_SESSION_BUS_ADDRESS. */
static inline sd_bus *open_bus(void) {
    sd_bus *bus = NULL;
    must(sd_bus_open_user(&bus), "open the bus");
    return bus;
}

/* Answer until killed. */
static inline void serve(sd_bus *bus) {
    for (;;) {
        int busy = must(sd_bus_process(bus, NULL), "process");
        if (!busy)
            must(sd_bus_wait(bus, UINT64_MAX), "wait");
    }
}
