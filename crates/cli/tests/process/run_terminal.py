"""`token-manager run` in a terminal, driven by key presses.

    python3 run_terminal.py SCENARIO TOKEN_MANAGER URL

Ends with 0 when all came as expected. What the terminal showed is printed otherwise.
"""

import os
import pty
import select
import shutil
import signal
import sys
import time
from urllib.request import Request, urlopen

PATIENCE = 30

# A shell with its own name, so that the test can tell it from other shells.
READER = "./reader"


class Terminal:
    """A new terminal with a program in it."""

    def __init__(self, *command):
        self.shown = b""
        self.at = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "PS1": "prompt> ", "HISTFILE": ""}
            os.execvpe(command[0], command, environment)

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, text):
        """Waits until the terminal shows this text after all texts expected before."""
        text = text.encode()
        until = time.monotonic() + PATIENCE
        while text not in self.shown[self.at:]:
            if not select.select([self.fd], [], [], max(0, until - time.monotonic()))[0]:
                raise AssertionError(f"waited too long for {text!r}")
            try:
                read = os.read(self.fd, 4096)
            except OSError:  # The other end is closed.
                read = b""
            if not read:
                raise AssertionError(f"ended without {text!r}")
            self.shown += read
        self.at = self.shown.index(text, self.at) + len(text)

    def give_to(self, program):
        """Waits until the process group led by this program has the terminal."""

        def given():
            try:
                with open(f"/proc/{os.tcgetpgrp(self.fd)}/comm") as comm:
                    return comm.read().strip() == os.path.basename(program)
            except OSError:
                return False

        poll(f"the terminal to be {program}'s", given)

    def hang_up(self):
        os.close(self.fd)
        self.wait()

    def wait(self):
        """Exit code of the program, once it has ended."""
        ended = []

        def look():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                ended.append(os.waitstatus_to_exitcode(status))
            return ended

        poll("the program to end", look)
        self.pid = None
        return ended[0]

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def poll(what, ask):
    until = time.monotonic() + PATIENCE
    while not ask():
        assert time.monotonic() < until, f"waited too long for {what}"
        time.sleep(0.01)


def shell():
    """Interactive shell with job control."""
    terminal = Terminal("bash", "--norc", "--noediting", "-i")
    terminal.expect("prompt> ")
    return terminal


def run(*arguments):
    return [PROGRAM, "run", "--server", URL, "--user", "ann", *arguments]


def line(*arguments):
    """The same command as a line to type into a shell."""
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in run(*arguments))


TICKING = "echo rea''dy; while :; do sleep 0.05; echo ti''ck; done"


def ctrl_c():
    """The command does not get the terminal: the signal reaches it through `run`."""
    trap = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    terminal = Terminal("sh", "-c", "exec \"$@\" </dev/null", "sh", *run("--", READER, "-c", trap))
    yield terminal
    terminal.expect("ready")
    terminal.type("\x03")
    terminal.expect("caught")
    assert terminal.wait() == 5


def ctrl_c_for_a_reader():
    """The command has the terminal, so only the command gets the signal."""
    terminal = shell()
    yield terminal
    terminal.type(line("--", READER, "-c", "echo rea''dy; read line") + "\n")
    terminal.expect("ready")
    terminal.give_to(READER)
    terminal.type("\x03")
    terminal.expect("prompt> ")
    terminal.type("echo code=$?\n")
    terminal.expect("code=130")


def ctrl_c_in_a_loop():
    """The shell's loop ends with the command, as it does without `run`."""
    terminal = shell()
    yield terminal
    command = line("--", READER, "-c", "echo rea''dy; sleep 600")
    terminal.type("for n in 1 2; do " + command + " 2>/dev/null; echo aft''er; done; echo do''ne\n")
    terminal.expect("ready")
    terminal.type("\x03")
    terminal.expect("prompt> ")
    assert b"after" not in terminal.shown


def reading():
    terminal = Terminal(*run("--", READER, "-c", "read line; echo \"read $line\"; exit 4"))
    yield terminal
    terminal.type("hello\n")
    terminal.expect("read hello")
    assert terminal.wait() == 4


LOOK = """import os, time
for _ in range(%d):
    if os.tcgetpgrp(2) == os.getpgrp(): break
    time.sleep(0.01)
print('fore' + str(os.tcgetpgrp(2) == os.getpgrp()))
"""


def in_the_foreground():
    """A command that only checks whether it is in the foreground finds that it is."""
    terminal = shell()
    yield terminal
    # It has the terminal from the start.
    open("look.py", "w").write(LOOK % 0)
    terminal.type(line("--", sys.executable, "look.py") + "\n")
    terminal.expect("foreTrue")
    terminal.expect("prompt> ")


def beside_others_in_the_foreground():
    """The rest of a pipeline keeps the terminal."""
    terminal = shell()
    yield terminal
    # Long enough for `run` to give it away.
    open("look.py", "w").write(LOOK % 30)
    terminal.type(line("--", sys.executable, "look.py") + " | cat\n")
    terminal.expect("foreFalse")
    terminal.expect("prompt> ")


def a_shell():
    """A shell within a shell, with its own job; then the outer shell again."""
    terminal = shell()
    yield terminal
    terminal.type(line("--", "bash", "--norc", "--noediting", "-i") + "\n")
    terminal.expect("prompt> ")
    terminal.type("echo $((6*7)) ${#TOKEN_MANAGER_TOKEN}\n")
    terminal.expect("42 36")
    terminal.type("sh -c 'read line; echo read-$line'\n")
    terminal.type("within\n")
    terminal.expect("read-within")
    terminal.type("exit 3\n")
    terminal.expect("prompt> ")
    terminal.type("echo code=$?\n")
    terminal.expect("code=3")


def clear():
    urlopen(Request(f"{URL}/api/tokens/clear-active", method="DELETE")).read()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def a_shell_without_a_lease():
    """A shell ignores SIGTERM, and its jobs have their own groups. All of them are ended."""
    terminal = shell()
    yield terminal
    terminal.type(line("--grace", "10s", "--", "bash", "--norc", "--noediting", "-i") + "\n")
    terminal.expect("prompt> ")
    job = "echo $$ >%s; %s while :; do sleep 0.05; done"
    terminal.type(f"sh -c '{job % ('behind', '')}' &\n")
    terminal.type(f"sh -c '{job % ('before', 'echo rea'+chr(34)*2+'dy;')}'\n")
    terminal.expect("ready")
    poll("the jobs", lambda: all(os.path.exists(name) and os.path.getsize(name) for name in ("before", "behind")))
    clear()
    terminal.expect("the lease was lost")
    assert not any(alive(open(name).read().strip()) for name in ("before", "behind"))
    terminal.type("echo code=$?\n")
    terminal.expect("code=123")


def ctrl_z():
    terminal = shell()
    yield terminal
    terminal.type(line("--", READER, "-c", TICKING) + "\n")
    terminal.expect("\ntick")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.expect("prompt> ")
    terminal.type("jobs\n")
    terminal.expect("Stopped")
    terminal.type("fg\n")
    terminal.expect("\ntick")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.type("bg\n")
    terminal.expect("\ntick")
    terminal.type("fg\n")
    terminal.expect("\ntick")
    terminal.type("\x03")
    terminal.expect("prompt> ")
    terminal.type("echo code=$?\n")
    terminal.expect("code=130")


def ctrl_z_ignored():
    """A command that ignores the key is stopped as well."""
    terminal = shell()
    yield terminal
    open("go", "w").close()
    deaf = "trap '' TSTP; n=0; while [ -e go ]; do n=$((n+1)); echo $n >n; sleep 0.02; done"
    terminal.type(line("--", READER, "-c", f"({deaf}) & echo rea''dy; wait") + "\n")
    terminal.expect("ready")
    poll("a count", lambda: os.path.exists("n") and os.path.getsize("n"))
    terminal.type("\x1a")
    terminal.expect("Stopped")
    before = open("n").read()
    # Long enough for a count that goes on.
    time.sleep(0.3)
    assert open("n").read() == before
    terminal.type("fg\n")
    poll("the count to go on", lambda: open("n").read() not in ("", before))
    os.remove("go")
    terminal.type("\x03")
    terminal.expect("prompt> ")


def lost_while_stopped():
    """`run` checks the lease before the command continues."""
    terminal = shell()
    yield terminal
    terminal.type(line("--", READER, "-c", TICKING) + "\n")
    terminal.expect("\ntick")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.expect("prompt> ")
    clear()
    terminal.type("fg\n")
    terminal.expect("the lease was lost")
    terminal.type("echo code=$?\n")
    terminal.expect("code=123")


def ctrl_z_for_a_reader():
    """The command has the terminal when it is stopped, and has it again afterwards."""
    terminal = shell()
    yield terminal
    terminal.type(line("--", READER, "-c", "echo rea''dy; read line; echo \"read $line\"") + "\n")
    terminal.expect("ready")
    terminal.give_to(READER)
    for _ in range(2):
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.expect("prompt> ")
        terminal.give_to("bash")
        terminal.type("fg\n")
        terminal.give_to(READER)
    terminal.type("hello\n")
    terminal.expect("read hello")
    terminal.expect("prompt> ")


def ctrl_z_in_a_script():
    """The shell's job is the script; the shell only notices if all of the job stops."""
    terminal = shell()
    yield terminal
    script = line("--", READER, "-c", "echo rea''dy; read line; echo \"read $line\"")
    quoted = script.replace("'", "'\\''")
    terminal.type(f"sh -c '{quoted}; echo fine''ly'\n")
    terminal.expect("ready")
    terminal.give_to(READER)
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.expect("prompt> ")
    terminal.type("fg\n")
    terminal.type("hello\n")
    terminal.expect("read hello")
    terminal.expect("finely")


def ctrl_z_without_a_shell():
    """No shell could continue a stopped command, as with `ssh -t`, so nothing is stopped."""
    terminal = Terminal(*run("--", READER, "-c", "echo ready; sleep 1; read line; echo \"read $line\""))
    yield terminal
    terminal.expect("ready")
    terminal.type("\x1a")
    terminal.give_to(READER)
    terminal.type("\x1a")
    terminal.expect("^Z")
    terminal.type("hello\n")
    terminal.expect("read hello")
    assert terminal.wait() == 0


def in_the_background():
    """A reader in the background stops until it is brought to the foreground."""
    terminal = shell()
    yield terminal
    terminal.type(line("--", READER, "-c", "read line; echo \"read $line\"") + " &\n")
    terminal.expect("prompt> ")

    def stopped():
        terminal.type("jobs\n")
        terminal.expect("prompt> ")
        return b"Stopped" in terminal.shown

    poll("the job to stop", stopped)
    terminal.type("fg\n")
    terminal.type("hello\n")
    terminal.expect("read hello")
    terminal.expect("prompt> ")


def in_an_orphaned_background():
    """The shell has forgotten it, so no shell would continue it if it stopped."""
    terminal = shell()
    yield terminal
    options = ["--lease", "12s", "--no-renew", "--stop-before", "6s", "--grace", "1s"]
    reader = "echo $$ >reader.pid; sleep 0.3; read line </dev/tty"
    terminal.type("(" + line(*options, "--", READER, "-c", reader) + " &)\n")
    terminal.expect("waits for the terminal in the background")
    terminal.expect("the lease reached its deadline")
    assert not alive(open("reader.pid").read().strip())


def in_a_pipeline():
    """The reader of the output may read keys from the terminal, as a pager does."""
    terminal = shell()
    yield terminal
    pager = "sh -c 'cat; read line </dev/tty; echo \"pager $line\"'"
    terminal.type(line("--", "echo", "from", "the", "command") + " | " + pager + "\n")
    terminal.expect("from the command\r\n")
    terminal.type("hello\n")
    terminal.expect("pager hello")
    terminal.expect("prompt> ")


def time_up_while_stopped():
    """A command stopped beyond its deadline is ended, and does not continue."""
    terminal = shell()
    yield terminal
    # Long enough for the key, also on a busy machine.
    options = ["--lease", "8s", "--no-renew", "--grace", "100ms", "-v"]
    terminal.type(line(*options, "--", READER, "-c", TICKING) + "\n")
    terminal.expect("\ntick")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    poll("the lease to be over", lambda: b'"active":0' in urlopen(f"{URL}/api/pool").read())
    terminal.type("fg\n")
    terminal.expect("reached its deadline")
    terminal.type("echo code=$?\n")
    terminal.expect("code=124")


def modes():
    """The modes of the terminal are restored after the command was killed."""
    terminal = shell()
    yield terminal
    untidy = "trap '' TERM; stty raw -echo; echo rea''dy; while :; do sleep 0.05; done"
    terminal.type(line("--grace", "100ms", "--", READER, "-c", untidy) + "\n")
    terminal.expect("ready")
    clear()
    terminal.expect("was killed")
    terminal.expect("prompt> ")
    terminal.type("stty -a | grep -o -w -e -icanon -e icanon; echo do''ne\n")
    terminal.expect("done")
    assert b"\nicanon" in terminal.shown and b"-icanon\r" not in terminal.shown


def hang_up():
    """The terminal is closed, and the command ends by itself."""
    terminal = Terminal(*run("--", READER, "-c", "echo ready; sleep 600"))
    yield terminal
    terminal.expect("ready")
    terminal.hang_up()


def hang_up_a_shell():
    """The same, with a shell between the terminal and `run`, and a command that has the terminal."""
    terminal = shell()
    yield terminal
    terminal.type(line("--", READER, "-c", "echo rea''dy; read line") + "\n")
    terminal.expect("ready")
    terminal.give_to(READER)
    terminal.hang_up()


def hang_up_ignored():
    """The command ignores the hangup, and is killed after the grace period."""
    deaf = "trap '' HUP; echo ready; while :; do sleep 0.05; done"
    terminal = Terminal(*run("--grace", "500ms", "--", READER, "-c", deaf))
    yield terminal
    terminal.expect("ready")
    terminal.hang_up()


def hang_up_with_nohup():
    """Both ignore the hangup by `nohup`, and continue until they are ended."""
    terminal = shell()
    yield terminal
    command = line("--grace", "100ms", "--", READER, "-c", "echo $$ >pid; exec sleep 600")
    terminal.type(f"nohup {command} >/dev/null 2>&1 </dev/null &\n")
    poll("the command", lambda: os.path.exists("pid") and os.path.getsize("pid") > 1)
    pid = int(open("pid").read())
    terminal.hang_up()
    # Long enough for a wrong end.
    time.sleep(1)
    os.kill(pid, signal.SIGTERM)


def perform(scenario):
    steps = scenario()
    terminal = next(steps)
    try:
        for _ in steps:
            pass
    except BaseException:
        print(terminal.shown.decode(errors="replace"))
        raise
    finally:
        terminal.close()


if __name__ == "__main__":
    name, PROGRAM, URL = sys.argv[1:]
    os.symlink(shutil.which("bash"), READER)
    perform(globals()[name])
