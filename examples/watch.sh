#!/bin/sh
# Print each container and its state. Listen first, then ask once, so that no change is missed.
on="--session -d org.rdk.OCIContainer"
stdbuf -oL gdbus monitor $on | sed -un "s/.*onContainerStateChanged ('\(.*\)', '\(.*\)')/\1 \2/p" &
gdbus call $on -o /org/rdk/OCIContainer -m org.freedesktop.DBus.ObjectManager.GetManagedObjects |
    grep -o "'Id': <'[^']*'>\|'State': <'[^']*'>" | cut -d "'" -f 4 | paste -d " " - -
wait
