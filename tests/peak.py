"""The most memory that a program of a test has had so far."""

# A program's `ru_maxrss` begins with that of the process that started it, so a test in a process
# that has once been large would see no growth.
PEAK = '''
def peak():
    """The largest resident memory of this program so far, in KiB."""
    with open("/proc/self/status") as status:
        return int(status.read().split("VmHWM:")[1].split()[0])
'''
