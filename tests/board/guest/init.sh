#!/bin/sh
# First process of the emulated board: kernel interfaces, the driver sets that the command line names, then the job.
# Its exit status goes out as "@@EXIT n" on the serial line, which is all that the host waits for.
export PATH=/job:/sbin:/bin LD_LIBRARY_PATH=/lib
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tmpfs -o size=90% tmpfs /tmp
echo 3 >/proc/sys/kernel/printk

# insert SET: the modules of /lib/sets/SET, one a line, in this order
insert() {
    while read -r module; do
        name=$(echo "${module%.ko}" | tr - _)
        [ -d "/sys/module/$name" ] || insmod "/lib/modules/$module" || echo "@@NO $module"
    done <"/lib/sets/$1"
}

for word in $(cat /proc/cmdline); do
    case $word in sets=*) for set in $(echo "${word#sets=}" | tr , ' '); do insert "$set"; done ;; esac
done
echo "@@UP $(cut -d' ' -f1 /proc/uptime) $(grep MemAvailable /proc/meminfo | tr -s ' ')"
sh /job/run.sh
echo "@@EXIT $?"
reboot -f
