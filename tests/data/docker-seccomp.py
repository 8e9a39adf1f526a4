#!/usr/bin/env python3
"""Makes docker-seccomp.json: moby's default profile as dockerd hands it to a runtime on x86_64, for a container with Docker's
default capabilities on a kernel of 4.8 or later. The facts are those of default.json in the Go module
github.com/moby/profiles/seccomp (Apache-2.0); fetch it with `go mod download -json github.com/moby/profiles/seccomp@v0.2.4`.

usage: tests/data/docker-seccomp.py default.json > tests/data/docker-seccomp.json
"""
import json, sys

CAPABILITIES = {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
                "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
                "CAP_AUDIT_WRITE"}


def asked(condition, every):
    arches, caps = condition.get("arches"), condition.get("caps")
    answers = [not arches or "amd64" in arches, not caps or bool(CAPABILITIES.issuperset(caps))]
    return all(answers) if every else (bool(arches) and answers[0]) or (bool(caps) and answers[1])


source = json.load(open(sys.argv[1]))
profile = {"defaultAction": source["defaultAction"], "defaultErrnoRet": source["defaultErrnoRet"],
           "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": []}
for rule in source["syscalls"]:
    if asked(rule.get("includes") or {}, True) and not asked(rule.get("excludes") or {}, False):
        kept = {k: v for k, v in rule.items() if k in ("names", "action", "args", "errnoRet") and v is not None}
        profile["syscalls"].append(kept)
lines = ",\n    ".join(json.dumps(rule) for rule in profile.pop("syscalls"))
print(json.dumps(profile)[:-1] + ', "syscalls": [\n    ' + lines + "\n]}")
