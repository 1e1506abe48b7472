# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left to do until a host runs a kernel by default, and what speaks against it. Pure: from what `host.read` found.

The former kernel stays the default until the new one has passed its gate. A note in GRUB's environment (`trial`) outlives the controller
and tells a step that is resumed what had been begun: "trying" a release since a boot, or going "back" from it.
"""

from typing import Any, Dict, List

from ansible_collections.fleet.stall.plugins.module_utils.kernels import grub

PHASES = ("pin", "install", "one_shot", "reboot", "gate", "make_default")
Row = Dict[str, Any]
NO_TARGET: Row = {
    "package": None,
    "version": None,
    "release": None,
    "spec": None,
    "installed": False,
    "removes": [],
    "replaces": False,
    "problem": None,
}


def left(host: Row, target: Row, resumed: bool) -> List[str]:
    """The phases that are left, in order; ["rollback"] where the new kernel was tried and is not to be tried again; [] if all is done.

    :param resumed: whether this goes on where another run of the same step ended
    """
    boot, release = host["boot"], target["release"]
    if boot["tool"] is None or release is None:
        return list(PHASES)
    trial = boot["trial"] if boot["trial"] and boot["trial"]["release"] == release else None
    if resumed and trial and trial["phase"] == "back":
        return ["rollback"]
    if host["running"] == release and target["installed"] and not _other_build(host, release):
        return [] if boot["default"] == release and not trial else ["gate", "make_default"]
    if resumed and trial and trial["boot_id"] != host["boot_id"]:
        return ["rollback"]
    todo = list(PHASES)
    # A default that is the running kernel only because that is the newest would be another once one is installed.
    # A kernel on trial that panics has to give way by itself.
    gives_way = boot["panics"] or not boot["dropins"]
    if boot["saved"] and boot["saved_entry"] == host["running_entry"] and gives_way:
        todo.remove("pin")
    if target["installed"]:
        todo.remove("install")
        if boot["next"] == release and trial:
            todo.remove("one_shot")
    return todo


def refusals(host: Row, target: Row, limits: Dict[str, int]) -> List[Dict[str, str]]:
    """[{what, remedy}] that speaks against going on; empty if nothing does.

    :param limits: MB that must be free {path: MB}, where a package is to be installed
    """
    if host["family"] is None:
        return [_no("neither of the Debian nor of the Red Hat family", "upgrade this host in its own way")]
    found = _of_packages(host) + _of_boot(host)
    if target["problem"]:
        return found + [_no(target["problem"], "correct stall_kernel, or the package sources of this host")]
    found += _of_build(host, target)
    return found if target["installed"] else found + _of_install(host, target) + _of_space(host["free_mb"], limits)


def _of_packages(host: Row) -> List[Dict[str, str]]:
    if host["busy"]:
        return [_no(f"the package manager is at work: {host['busy']}", "wait for it, or raise stall_kernel_wait_s")]
    if host["sane"]:
        return []
    repair = "dpkg --configure -a, apt-get --fix-broken install" if host["family"] == "debian" else "rpm --rebuilddb, dnf check"
    return [_no(f"the package manager is in no sane state: {host['said']}", f"repair it: {repair}")]


def _of_boot(host: Row) -> List[Dict[str, str]]:
    boot, running = host["boot"], host["running"]
    if boot["tool"] is None:
        return [_no(f"a kernel can't be tried just once: {boot['why']}", "upgrade this host in its own way")]
    found = []
    if not boot["writable"]:
        found.append(_no(f"a kernel can't be tried just once: {boot['why']}", "keep /boot on a plain partition with ext4, xfs or FAT"))
    if not boot["saved"] and not boot["dropins"]:
        found.append(_no("GRUB's default is not its saved entry", "set GRUB_DEFAULT=saved in /etc/default/grub and run grub2-mkconfig"))
    if grub.entry_of(running, boot["entries"]) is None:
        found.append(_no(f"GRUB has no entry for the running kernel {running}: there would be no way back", "run update-grub"))
    return found


def _of_build(host: Row, target: Row) -> List[Dict[str, str]]:
    release = target["release"]
    if host["running"] != release:
        return []
    if target["replaces"]:
        what = f"{target['spec']} would replace the files of the running kernel {release}: there would be no former one to go back to"
        return [_no(what, "choose another release, or install the package and use the remedy drain_reboot")]
    build = _other_build(host, release)
    if build:
        what = f"another build of {release} runs than is installed ({build}): there would be no former one to go back to"
        return [_no(what, "use the remedy drain_reboot")]
    return []


def _of_install(host: Row, target: Row) -> List[Dict[str, str]]:
    found = []
    if target["removes"]:
        found.append(_no(f"installing {target['spec']} would remove {', '.join(target['removes'])}", "see to these packages first"))
    names = {target["package"], f"linux-image-{target['release']}"}
    held = [name for name in host["held"] if host["family"] != "debian" or name.partition(":")[0] in names]
    if held:
        found.append(_no(f"held back on purpose: {', '.join(held)}", "if that purpose is over: apt-mark unhold, dnf versionlock delete"))
    return found


def _of_space(free_mb: Dict[str, Any], limits: Dict[str, int]) -> List[Dict[str, str]]:
    found = []
    for path, least in limits.items():
        free = free_mb.get(path)
        if free is None or free < least:
            has = f"how much is free on {path} is not known" if free is None else f"{free} MB are free on {path}, fewer than {least}"
            found.append(_no(has, "remove kernels no longer needed: apt-get autoremove, dnf remove --oldinstallonly"))
    return found


def _other_build(host: Row, release: str) -> Any:
    """The version of the package of that release, if uname -v names another; only Debian's own kernels name one."""
    words = host["build"].split()
    installed = next((kernel["version"] for kernel in host["installed"] if kernel["release"] == release), None)
    if host["family"] != "debian" or "Debian" not in words[:-1] or words[words.index("Debian") + 1] == installed:
        return None
    return installed


def _no(what: str, remedy: str) -> Dict[str, str]:
    return {"what": what, "remedy": remedy}
