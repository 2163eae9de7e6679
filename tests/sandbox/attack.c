// One attack per call: `attack NAME ARGUMENT...`. Says what happened on standard output and ends with 0 if the attack
// came through, 1 if it was denied (and how), 2 if the attack itself is broken.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

static int verdict(long rc) {
    if (rc < 0) {
        printf("denied: %s\n", strerror(errno));
        return 1;
    }
    printf("done: %ld\n", rc);
    return 0;
}

static int read_file(const char *path) {
    char buffer[64];
    int fd = open(path, O_RDONLY);
    if (fd < 0) return verdict(-1);
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n > 0) fwrite(buffer, 1, n, stdout);
    return verdict(n);
}

static int write_file(const char *path, int flags) {
    int fd = open(path, flags, 0644);
    if (fd < 0) return verdict(-1);
    return verdict(write(fd, "x", 1));
}

static int unix_connect(const char *path, int abstract, int type) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    memcpy(a.sun_path + abstract, path, n);
    int fd = socket(AF_UNIX, type, 0);
    if (fd < 0) return verdict(-1);
    return verdict(connect(fd, (void *)&a, offsetof(struct sockaddr_un, sun_path) + abstract + n + !abstract));
}

static int inet(int type, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, type, 0);
    if (fd < 0) return verdict(-1);
    if (type == SOCK_DGRAM) return verdict(sendto(fd, "x", 1, 0, (void *)&a, sizeof a));
    return verdict(connect(fd, (void *)&a, sizeof a));
}

static int daemonize(const char *path) {
    // Away from the main process by every means: two forks, a new session, ignored signals.
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            setsid();
            for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
            if (fork() == 0) setpgid(0, 0);
            for (int i = 0; i < 300; i++) {
                usleep(20000);
                int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
                if (fd >= 0) {
                    if (write(fd, "x", 1) != 1) _exit(1);
                    close(fd);
                }
            }
            _exit(0);
        }
        _exit(0);
    }
    usleep(60000);
    printf("main process ends\n");
    return 0;
}

// Forks again and again, each process ending at once: never two signals to the same one.
static int run_away(const char *path) {
    if (fork() == 0) {
        setsid();
        for (int i = 0; i < 100000; i++) {
            if (fork() != 0) _exit(0);
            if (i % 16 == 0) {
                int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
                if (fd >= 0) {
                    if (write(fd, "x", 1) != 1) _exit(1);
                    close(fd);
                }
            }
        }
        _exit(0);
    }
    usleep(50000);
    return 0;
}

#include "races.h"
#include "more.h"

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc < 2) return 2;
    const char *what = argv[1];
    const char *a = argc > 2 ? argv[2] : "";
    const char *b = argc > 3 ? argv[3] : "";
#define IS(name) (strcmp(what, name) == 0)

    // Files
    if (IS("read")) return read_file(a);
    if (IS("overwrite")) return write_file(a, O_WRONLY);
    if (IS("append")) return write_file(a, O_WRONLY | O_APPEND);
    if (IS("create")) return write_file(a, O_WRONLY | O_CREAT | O_EXCL);
    if (IS("open-truncate")) return verdict(open(a, O_RDONLY | O_TRUNC));
    if (IS("truncate")) return verdict(truncate(a, 0));
    if (IS("unlink")) return verdict(unlink(a));
    if (IS("rename")) return verdict(rename(a, b));
    if (IS("link")) return verdict(link(a, b));
    if (IS("mkdir")) return verdict(mkdir(a, 0755));
    if (IS("list")) return verdict(open(a, O_RDONLY | O_DIRECTORY));
    if (IS("through-link")) {
        unlink(b);
        if (symlink(a, b)) return 2;
        return read_file(b);
    }
    if (IS("chmod")) return verdict(chmod(a, 0777));
    if (IS("chmod-setuid")) return verdict(chmod(a, 04755));
    if (IS("create-setuid")) return verdict(open(a, O_WRONLY | O_CREAT, 04755));
    if (IS("fchmod")) {
        int fd = open(a, O_RDONLY);
        if (fd < 0) return verdict(-1);
        return verdict(fchmod(fd, 0777));
    }
    if (IS("fchmodat-directory")) {
        char copy[4096];
        snprintf(copy, sizeof copy, "%s", a);
        char *slash = strrchr(copy, '/');
        *slash = 0;
        int fd = open(copy, O_PATH | O_DIRECTORY);
        if (fd < 0) return verdict(-1);
        return verdict(fchmodat(fd, slash + 1, 0777, 0));
    }
    if (IS("chmod-through-link")) {
        unlink(b);
        if (symlink(a, b)) return 2;
        return verdict(chmod(b, 0777));
    }
    if (IS("chmod-dotdot")) {
        if (chdir(b)) return 2;
        char path[8192];
        snprintf(path, sizeof path, "../../../../../../../../../..%s", a);
        return verdict(chmod(path, 0777));
    }
    if (IS("chmod-proc")) {
        char path[64];
        int fd = open(a, O_PATH);
        if (fd < 0) return verdict(-1);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        return verdict(chmod(path, 0777));
    }
    if (IS("chown")) return verdict(chown(a, atoi(b), -1));
    if (IS("utimes")) {
        struct timespec t[2] = {{1, 0}, {1, 0}};
        return verdict(utimensat(AT_FDCWD, a, t, 0));
    }
    if (IS("futimens")) {
        struct timespec t[2] = {{1, 0}, {1, 0}};
        int fd = open(a, O_RDONLY);
        if (fd < 0) return verdict(-1);
        return verdict(futimens(fd, t));
    }
    if (IS("setxattr")) return verdict(setxattr(a, "user.kiln", "x", 1, 0));
    if (IS("mknod-device")) return verdict(mknod(a, S_IFCHR | 0666, 0x103));
    if (IS("mknod-fifo")) return verdict(mknod(a, S_IFIFO | 0644, 0));
    if (IS("socket-file")) return verdict(mknod(a, S_IFSOCK | 0644, 0));
    if (IS("exec")) return verdict(execl(a, a, (char *)0));
    if (IS("descriptor")) {
        char buffer[64];
        ssize_t n = read(atoi(a), buffer, sizeof buffer);
        if (n > 0) fwrite(buffer, 1, n, stdout);
        return verdict(n);
    }
    if (IS("descriptors")) {
        for (int fd = 0; fd < 1024; fd++)
            if (fcntl(fd, F_GETFD) >= 0) printf("%d ", fd);
        printf("\n");
        return 0;
    }
    if (IS("environment")) {
        const char *value = getenv(a);
        errno = ENOENT;
        if (value) printf("%s\n", value);
        return verdict(value ? 0 : -1);
    }

    // Network
    if (IS("tcp")) return inet(SOCK_STREAM, atoi(a));
    if (IS("udp")) return inet(SOCK_DGRAM, atoi(a));
    if (IS("unix")) return unix_connect(a, 0, SOCK_STREAM);
    if (IS("abstract")) return unix_connect(a, 1, SOCK_STREAM);
    if (IS("unix-datagram-pair")) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        int fds[2];
        strncpy(to.sun_path, a, sizeof to.sun_path - 1);
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, fds)) return verdict(-1);
        return verdict(sendto(fds[0], "x", 1, 0, (void *)&to, sizeof to));
    }
    if (IS("unix-stream-pair-to")) {
        // A connected pair must not reach anybody else, whatever address a message names.
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        int fds[2];
        strncpy(to.sun_path, a, sizeof to.sun_path - 1);
        struct iovec v = {"x", 1};
        struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &v, .msg_iovlen = 1};
        if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds)) return verdict(-1);
        return verdict(sendmsg(fds[0], &m, MSG_DONTWAIT));
    }
    if (IS("netlink")) return verdict(socket(AF_NETLINK, SOCK_RAW, 0));
    if (IS("packet")) return verdict(socket(AF_PACKET, SOCK_RAW, 0));
    if (IS("vsock")) return verdict(socket(AF_VSOCK, SOCK_STREAM, 0));

    // Other processes
    if (IS("kill")) return verdict(kill(atoi(a), SIGTERM));
    if (IS("ptrace")) {
        long rc = ptrace(PTRACE_ATTACH, atoi(a), 0, 0);
        if (rc == 0) {
            int status;
            waitpid(atoi(a), &status, __WALL);
            ptrace(PTRACE_DETACH, atoi(a), 0, 0);
        }
        return verdict(rc);
    }
    if (IS("read-memory")) {
        char byte;
        struct iovec l = {&byte, 1}, r = {(void *)strtoull(b, 0, 0), 1};
        return verdict(process_vm_readv(atoi(a), &l, 1, &r, 1, 0));
    }
    if (IS("proc-memory")) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%s/mem", a);
        return verdict(open(path, O_RDWR));
    }
    if (IS("proc-environ")) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%s/environ", a);
        return read_file(path);
    }
    if (IS("pidfd")) return verdict(syscall(SYS_pidfd_open, atoi(a), 0));
    if (IS("prlimit")) {
        struct rlimit l;
        return verdict(prlimit(atoi(a), RLIMIT_CORE, NULL, &l));
    }
    if (IS("priority")) return verdict(setpriority(PRIO_PROCESS, atoi(a), 19));
    if (IS("affinity")) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(0, &set);
        return verdict(sched_setaffinity(atoi(a), sizeof set, &set));
    }
    if (IS("set-owner")) {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds)) return 2;
        return verdict(fcntl(fds[0], F_SETOWN, atoi(a)));
    }
    if (IS("daemon")) return daemonize(a);
    if (IS("run-away")) return run_away(a);
    if (IS("shm")) {
        int id = shmget(atoi(a), 4096, 0);
        return verdict(id);
    }

    // The kernel
    if (IS("unshare-user")) return verdict(unshare(CLONE_NEWUSER));
    if (IS("clone-user")) {
        long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) _exit(0);
        return verdict(pid);
    }
    if (IS("clone3")) {
        uint64_t args[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
        long pid = syscall(SYS_clone3, args, sizeof args);
        if (pid == 0) _exit(0);
        return verdict(pid);
    }
    if (IS("setns")) {
        int fd = open("/proc/self/ns/net", O_RDONLY);
        if (fd < 0) return verdict(-1);
        return verdict(setns(fd, CLONE_NEWNET));
    }
    if (IS("mount")) return verdict(mount("tmpfs", a, "tmpfs", 0, ""));
    if (IS("remount")) return verdict(mount("none", a, NULL, MS_REMOUNT | MS_BIND, NULL));
    if (IS("umount")) return verdict(umount2(a, MNT_DETACH));
    if (IS("chroot")) return verdict(chroot(a));
    if (IS("sethostname")) return verdict(sethostname("x", 1));
    if (IS("tiocsti")) return verdict(ioctl(atoi(a), TIOCSTI, "x"));
    if (IS("tiocsti-high")) return verdict(syscall(SYS_ioctl, atoi(a), 0xdead000000000000UL | TIOCSTI, "x"));
    if (IS("tioclinux")) {
        char subcode = 2;
        return verdict(ioctl(atoi(a), 0x541c, &subcode));
    }
    if (IS("io-uring")) {
        char p[256] = {0};
        return verdict(syscall(SYS_io_uring_setup, 1, p));
    }
    if (IS("bpf")) {
        union { char c[128]; } attr = {{0}};
        return verdict(syscall(SYS_bpf, 0, &attr, sizeof attr));
    }
    if (IS("perf")) {
        uint64_t attr[16] = {1};
        ((uint32_t *)attr)[1] = sizeof attr;
        return verdict(syscall(SYS_perf_event_open, attr, 0, -1, -1, 0));
    }
    if (IS("userfaultfd")) return verdict(syscall(SYS_userfaultfd, 1));
    if (IS("keyctl")) return verdict(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
    if (IS("add-key")) return verdict(syscall(SYS_add_key, "user", "kiln", "x", 1, KEY_SPEC_PROCESS_KEYRING));
    if (IS("personality")) return verdict(syscall(SYS_personality, 0x0040000));
    if (IS("seccomp")) return verdict(syscall(SYS_seccomp, 3, 0, &(uint16_t[3]){0}));
    if (IS("set-mm")) return verdict(prctl(PR_SET_MM, PR_SET_MM_BRK, sbrk(0), 0, 0));
    if (IS("open-handle")) {
        struct { struct file_handle h; char bytes[128]; } f = {.h = {.handle_bytes = 128}};
        int id;
        return verdict(name_to_handle_at(AT_FDCWD, a, &f.h, &id, 0));
    }
    if (IS("capabilities")) {
        // Any capability in any set, the bounding set included.
        char line[256];
        FILE *f = fopen("/proc/self/status", "r");
        if (!f) {
            uint32_t header[2] = {0x20080522, 0}, data[6] = {0};
            if (syscall(SYS_capget, header, data)) return 2;
            for (int i = 0; i < 6; i++)
                if (data[i]) return verdict(data[i]);
            for (int i = 0; i < 64; i++)
                if ((geteuid() == 0 || geteuid() == 1000) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1) return verdict(i);
            errno = EPERM;
            return verdict(-1);
        }
        int any = 0;
        while (fgets(line, sizeof line, f))
            if (strncmp(line, "Cap", 3) == 0 && strtoull(line + 7, 0, 16)) any = 1;
        errno = EPERM;
        return verdict(any ? 0 : -1);
    }
#ifdef __x86_64__
    if (IS("int80")) {
        long rc;
        __asm__ volatile("int $0x80" : "=a"(rc) : "a"(20L) : "memory");
        errno = ENOSYS;
        return verdict(rc > 0 ? rc : -1);
    }
    if (IS("x32")) return verdict(syscall(0x40000000 + SYS_getpid));
    if (IS("x32-ptrace")) return verdict(syscall(0x40000000 + 521, PTRACE_TRACEME, 0, 0, 0));
#endif

    // What a process does to itself
    if (IS("exit")) return atoi(a);
    if (IS("abort")) abort();
    if (IS("raise")) {
        raise(atoi(a));
        printf("still here\n");
        return 0;
    }
    if (IS("segfault")) {
        *(volatile int *)8 = 1;
        return 0;
    }
    if (IS("sleep")) {
        usleep(1000 * atoi(a));
        return 0;
    }
    if (IS("spin")) for (;;);
    if (IS("print")) {
        char line[1024];
        memset(line, 'x', sizeof line);
        for (int i = 0; i < atoi(a); i++)
            if (write(1, line, sizeof line) < 0) return 1;
        return 0;
    }
    if (IS("fork-bomb")) {
        for (int i = 0; i < atoi(a); i++) {
            pid_t pid = fork();
            if (pid < 0) return verdict(-1);
            if (pid == 0) {
                pause();
                _exit(0);
            }
        }
        return verdict(0);
    }
    if (IS("memory")) {
        size_t n = (size_t)atoi(a) << 20;
        char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return verdict(p == MAP_FAILED ? -1 : 0);
    }
    if (IS("big-file")) {
        signal(SIGXFSZ, SIG_IGN);
        int fd = open(a, O_WRONLY | O_CREAT, 0644);
        return verdict(ftruncate(fd, 1L << 30));
    }
    int further = more(what, a, b, argc > 4 ? argv[4] : "");
    if (further >= 0) return further;
    fprintf(stderr, "no attack is called %s\n", what);
    return 2;
}
