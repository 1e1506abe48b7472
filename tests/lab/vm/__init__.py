"""The VM lab: hosts as real machines, with kernels of their own, that can be upgraded and rebooted.

`make lab-up SCENARIO=vm_clean` (or vm_kernel_stall, ...), `make lab-down`; the inventory is `.lab/<id>/inventory.yml`, as of the lab of
namespaces. The first one builds the image, once (`image.py`; some minutes), into `.cache/vm/`.

- Each machine is a QEMU on a tap in the lab's own fabric (`fleet.py`, `machine.py`): with KVM where that boots a kernel, else in software
  (`FLEET_STALL_ACCEL=tcg` or `kvm` decides by hand). Debian 12, 1 CPU, systemd, sshd with a host key of its own, control groups version 1,
  GRUB with `GRUB_DEFAULT=saved`, so that `grub-reboot` and `grub-set-default` work; tiny-initramfs instead of initramfs-tools, whose
  hooks take minutes where a process costs a tenth of a second.
- It starts on the older of two kernels. The newer one's packages lie in `/srv/kernels`, which is the machine's only apt source:
  `apt-get install linux-image-cloud-amd64` upgrades without a network. `/etc/lab-kernels.json` and `.lab/<id>/kernels.json` say
  {package, old, new}, the releases as `uname -r` says them.
- What tells the machines apart, and what the scenario wants of each, is on a second disk (`seed.py`), unpacked before systemd starts for
  the first time. `.lab/<id>/log/console-<host>.log` is the serial console, over reboots too; `truth/<host>.jsonl` is what the injector did.
- The injector (`injector/`, a kernel module that says so) is built for the older kernel alone: a stall of its making ends with the upgrade.
- A lab that is up already is kept as it is, upgraded machines too: `make lab-down` first for fresh ones. A machine ends itself after
  `fleet.LIFETIME_S`.

`make test-vm` tests it. `make test` does not: a diagnosis, an upgrade and three reboots in software emulation take longer than its 20
minutes leave.
"""
