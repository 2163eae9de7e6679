// Further attacks, by name; -1 if there is none of that name.
#include <linux/fs.h>
#include <linux/if_packet.h>
#include <mqueue.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/statfs.h>
#include <sys/timex.h>
#include <sys/wait.h>

static int copy_file(const char *from, int to) {
    char buffer[65536];
    int fd = open(from, O_RDONLY);
    if (fd < 0) return -1;
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
        if (write(to, buffer, n) != n) return -1;
    close(fd);
    return 0;
}

// How a program ends that is to say with 0 that it was run.
static int runs(const char *program, char *const *arguments, int fd) {
    pid_t pid = fork();
    if (pid == 0) {
        if (fd >= 0) syscall(SYS_execveat, fd, "", arguments, environ, AT_EMPTY_PATH);
        else execv(program, arguments);
        _exit(errno == ENOEXEC ? 126 : 127);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) return verdict(-1);
    errno = EACCES;
    return verdict(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1);
}

static pid_t whom(const char *who) {
    return strcmp(who, "parent") == 0 ? getppid() : atoi(who);
}

static int proc_file(const char *who, const char *name, int link) {
    char path[4300], buffer[4096];
    if (whom(who) == 0) {
        errno = ESRCH;
        return verdict(-1);
    }
    snprintf(path, sizeof path, "/proc/%d/%s", whom(who), name);
    if (link) return verdict(readlink(path, buffer, sizeof buffer));
    return read_file(path);
}

static int more(const char *what, const char *a, const char *b, const char *c) {
#define IS(name) (strcmp(what, name) == 0)
    // --- Files -------------------------------------------------------------------------------------------------------
    if (IS("race-memory")) return race("memory", a, b);
    if (IS("race-link")) return race("link", a, b);
    if (IS("race-directory")) return race("directory", a, b);
    if (IS("race-descriptor")) return race("descriptor", a, b);
    if (IS("exchange")) return verdict(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE));
    if (IS("symlink")) return verdict(symlink("/etc/passwd", a));
    if (IS("rmdir")) return verdict(rmdir(a));
    if (IS("tmpfile")) return verdict(open(a, O_TMPFILE | O_RDWR, 0644));
    if (IS("tmpfile-link")) {
        char path[64];
        int fd = open(a, O_TMPFILE | O_RDWR, 0644);
        if (fd < 0) return verdict(-1);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        return verdict(linkat(AT_FDCWD, path, AT_FDCWD, b, AT_SYMLINK_FOLLOW));
    }
    if (IS("reopen") || IS("reopen-write")) {
        char path[64];
        int fd = open(a, O_PATH);
        if (fd < 0) return verdict(-1);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        return IS("reopen") ? read_file(path) : write_file(path, O_WRONLY);
    }
    if (IS("read-relative")) {
        if (chdir(b)) return verdict(-1);
        return read_file(a);
    }
    if (IS("link-descriptor")) {
        int fd = open(a, O_PATH);
        if (fd < 0) return verdict(-1);
        return verdict(linkat(fd, "", AT_FDCWD, b, AT_EMPTY_PATH));
    }
    if (IS("fchmodat2-empty")) {
        int fd = open(a, O_PATH);
        if (fd < 0) return verdict(-1);
        return verdict(syscall(452, fd, "", 0777, AT_EMPTY_PATH));
    }
    if (IS("utimes-empty")) {
        struct timespec t[2] = {{1, 0}, {1, 0}};
        int fd = open(a, O_PATH);
        if (fd < 0) return verdict(-1);
        return verdict(utimensat(fd, "", t, AT_EMPTY_PATH));
    }
    if (IS("utimes-old")) {
#ifdef SYS_utimes
        struct timeval t[2] = {{1, 0}, {1, 0}};
        return verdict(syscall(SYS_utimes, a, t));
#endif
    }
    if (IS("lutimes")) {
        struct timespec t[2] = {{1, 0}, {1, 0}};
        return verdict(utimensat(AT_FDCWD, a, t, AT_SYMLINK_NOFOLLOW));
    }
    if (IS("attributes")) {
        int flags = 0, fd = open(a, O_RDONLY);
        if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags)) return verdict(-1);
        flags |= FS_NODUMP_FL;
        return verdict(ioctl(fd, FS_IOC_SETFLAGS, &flags));
    }
    if (IS("fallocate")) {
        int fd = open(a, O_RDWR);
        if (fd < 0) return verdict(-1);
        return verdict(fallocate(fd, 0, 0, 1 << 20));
    }
    if (IS("lease")) {
        int fd = open(a, O_RDONLY);
        if (fd < 0) return verdict(-1);
        return verdict(fcntl(fd, F_SETLEASE, F_RDLCK));
    }
    if (IS("notify")) {
        int fd = open(a, O_RDONLY);
        if (fd < 0) return verdict(-1);
        return verdict(fcntl(fd, F_NOTIFY, DN_CREATE | DN_MODIFY));
    }
    if (IS("inotify")) {
        int fd = syscall(SYS_inotify_init1, 0);
        if (fd < 0) return verdict(-1);
        return verdict(syscall(SYS_inotify_add_watch, fd, a, 0x2));
    }

    if (IS("getxattr")) return verdict(getxattr(a, "user.kiln", NULL, 0));
    if (IS("listxattr")) return verdict(listxattr(a, NULL, 0));

    // --- The end of a process ----------------------------------------------------------------------------------------
    if (IS("core-limit")) {
        // At 1 the kernel starts no helper for a process that crashes.
        struct rlimit l;
        errno = EPERM;
        return verdict(getrlimit(RLIMIT_CORE, &l) || l.rlim_cur != 1 || l.rlim_max > 1 ? 0 : -1);
    }
    if (IS("lower-core-limit")) {
        struct rlimit l = {0, 0};
        return verdict(syscall(SYS_setrlimit, RLIMIT_CORE, &l));
    }
    if (IS("lower-core-limit-by-prlimit")) {
        struct rlimit l = {0, 0};
        return verdict(prlimit(0, RLIMIT_CORE, &l, NULL));
    }
    if (IS("outlive")) {
        prctl(PR_SET_PDEATHSIG, 0);
        for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
        for (int i = 0; i < 2000; i++) {
            int fd = open(a, O_WRONLY | O_CREAT | O_APPEND, 0644);
            if (fd < 0 || write(fd, "x", 1) != 1) return 1;
            close(fd);
            usleep(20000);
        }
        return 0;
    }

    // --- Programs ----------------------------------------------------------------------------------------------------
    if (IS("exec-loader")) {
        char *arguments[] = {"ld.so", (char *)a, "exit", "0", NULL};
        return runs("/lib64/ld-linux-x86-64.so.2", arguments, -1);
    }
    if (IS("exec-script")) {
        int fd = open(b, O_CREAT | O_WRONLY | O_TRUNC, 0755);
        if (fd < 0) return 2;
        dprintf(fd, "#!%s exit\n", a);
        close(fd);
        char *arguments[] = {(char *)b, NULL};
        return runs(b, arguments, -1);
    }
    if (IS("exec-descriptor")) {
        char *arguments[] = {"attack", "exit", "0", NULL};
        int fd = open(a, O_PATH | O_CLOEXEC);
        if (fd < 0) return verdict(-1);
        return runs(NULL, arguments, fd);
    }
    if (IS("exec-memory")) {
        char *arguments[] = {"attack", "exit", "0", NULL};
        int fd = memfd_create("attack", 0);
        if (fd < 0) return verdict(-1);
        if (copy_file("/proc/self/exe", fd) && copy_file(a, fd)) return verdict(-1);
        return runs(NULL, arguments, fd);
    }
    if (IS("memory-file")) return verdict(memfd_create("attack", 0));
    if (IS("gain")) {
        errno = EPERM;
        return verdict(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? -1 : 0);
    }

    // --- Other processes ---------------------------------------------------------------------------------------------
    if (IS("proc-read")) return proc_file(a, b, 0);
    if (IS("proc-link")) return proc_file(a, b, 1);
    if (IS("proc-write")) {
        char path[300];
        if (whom(a) == 0) {
            errno = ESRCH;
            return verdict(-1);
        }
        snprintf(path, sizeof path, "/proc/%d/%s", whom(a), b);
        int fd = open(path, O_WRONLY);
        if (fd < 0) return verdict(-1);
        return verdict(write(fd, "0", 1));
    }
    if (IS("signal-parent")) {
        errno = ESRCH;
        return verdict(getppid() == 0 ? -1 : kill(getppid(), 0));
    }
    if (IS("signal-thread")) return verdict(syscall(SYS_tgkill, atoi(a), atoi(a), 0));
    if (IS("signal-queue")) {
        siginfo_t info = {.si_code = -1};
        return verdict(syscall(SYS_rt_sigqueueinfo, atoi(a), 0, &info));
    }
    if (IS("signal-by-proc")) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%s", a);
        int fd = open(path, O_RDONLY | O_DIRECTORY);
        if (fd < 0) return verdict(-1);
        return verdict(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    }
    if (IS("own-async")) {
        int fds[2], on = 1;
        if (pipe(fds)) return 2;
        return verdict(ioctl(fds[0], FIOASYNC, &on));
    }
    if (IS("set-signal")) {
        int fds[2];
        if (pipe(fds)) return 2;
        return verdict(fcntl(fds[0], F_SETSIG, SIGKILL));
    }
    if (IS("scheduler")) {
        struct sched_param p = {0};
        return verdict(sched_setscheduler(atoi(a), SCHED_BATCH, &p));
    }
    if (IS("io-priority")) return verdict(syscall(SYS_ioprio_set, 1, atoi(a), (3 << 13)));
    if (IS("shm-make")) return verdict(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
    if (IS("sem-make")) return verdict(semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
    if (IS("msg-make")) return verdict(msgget(IPC_PRIVATE, IPC_CREAT | 0600));
    if (IS("mq-make")) {
        long fd = syscall(SYS_mq_open, "kiln-attack", O_CREAT | O_RDWR, 0600, NULL);
        if (fd >= 0) syscall(SYS_mq_unlink, "kiln-attack");
        return verdict(fd);
    }
    if (IS("pair-datagram")) {
        int fds[2];
        return verdict(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
    }

    // --- Network -----------------------------------------------------------------------------------------------------
    if (IS("socket")) {
        int domain, type, protocol;
        if (sscanf(a, "%d %d %d", &domain, &type, &protocol) != 3) return 2;
        return verdict(socket(domain, type, protocol));
    }
    if (IS("fast-open")) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(a))};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0) return verdict(-1);
        return verdict(sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&to, sizeof to));
    }

    // --- The kernel --------------------------------------------------------------------------------------------------
    if (IS("unshare")) return verdict(unshare(strtol(a, NULL, 0)));
    if (IS("clone")) {
        long pid = syscall(SYS_clone, strtol(a, NULL, 0) | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) _exit(0);
        return verdict(pid);
    }
    if (IS("clone-high")) {
        // Flags are an int to the kernel; what is above has to be looked at or not, but not half.
        long pid = syscall(SYS_clone, 0xffff000000000000UL | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) _exit(0);
        return verdict(pid);
    }
    if (IS("prctl")) return verdict(prctl(strtol(a, NULL, 0), strtol(b, NULL, 0), 0, 0, 0));
    if (IS("numbers")) {
        // close_range, faccessat2, epoll_pwait2, futex_waitv, fchmodat2, map_shadow_stack, mseal: allowed.
        const int allowed[] = {436, 439, 441, 449, 452, 453, 462};
        int came = 0;
        for (int n = 424; n < 1024; n++) {
            int skip = 0;
            for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) skip |= allowed[i] == n;
            if (skip) continue;
            long rc = syscall(n, -1L, -1L, -1L, -1L, -1L, -1L);
            if (rc < 0 && (errno == ENOSYS || errno == EPERM)) continue;
            printf("%d: %ld, %s\n", n, rc, strerror(errno));
            came++;
        }
        errno = ENOSYS;
        return verdict(came ? 0 : -1);
    }
    if (IS("fsopen")) return verdict(syscall(SYS_fsopen, "tmpfs", 0));
    if (IS("open-tree")) return verdict(syscall(SYS_open_tree, AT_FDCWD, a, 1));
    if (IS("set-time")) {
        struct timex t = {.modes = 0};
        return verdict(adjtimex(&t));
    }
    if (IS("quota")) return verdict(syscall(SYS_quotactl, 0x80000100, a, 0, NULL));
    if (IS("landlock")) return verdict(syscall(SYS_landlock_create_ruleset, NULL, 0, 1));
    if (IS("process-keyring")) return verdict(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
    if (IS("request-key")) return verdict(syscall(SYS_request_key, "user", "kiln", NULL, 0));
    if (IS("memory-secret")) return verdict(syscall(447, 0));
#ifdef __x86_64__
    if (IS("int80-call")) {
        // Any call of the 32-bit table, with no arguments.
        long rc;
        __asm__ volatile("int $0x80" : "=a"(rc) : "a"(strtol(a, NULL, 0)), "b"(0L), "c"(0L), "d"(0L) : "memory");
        errno = rc < 0 ? -rc : 0;
        return verdict(rc < 0 ? -1 : rc);
    }
    if (IS("x32-call")) return verdict(syscall(0x40000000 + strtol(a, NULL, 0), 0, 0, 0, 0, 0, 0));
    if (IS("modify-ldt")) return verdict(syscall(SYS_modify_ldt, 0, NULL, 0));
    if (IS("io-ports")) return verdict(syscall(SYS_ioperm, 0x80, 1, 1));
#endif
    // A call by its number, with arguments that make no sense: what the filter says, and nothing that has an effect.
    if (IS("call")) {
        long bad = -1;
        long rc = syscall(strtol(a, NULL, 0), bad, bad, bad, bad, bad, bad);
        printf("%d\n", rc == -1 ? errno : 0);
        return 0;
    }

    // --- Exhaustion --------------------------------------------------------------------------------------------------
    if (IS("touch-memory")) {
        size_t n = (size_t)atoi(a) << 20;
        char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return verdict(-1);
        for (size_t i = 0; i < n; i += 4096) p[i] = 1;
        usleep(atoi(b) * 1000);
        return verdict(0);
    }
    if (IS("touch-shared")) {
        size_t n = (size_t)atoi(a) << 20;
        char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return verdict(-1);
        for (size_t i = 0; i < n; i += 4096) p[i] = 1;
        usleep(atoi(b) * 1000);
        return verdict(0);
    }
    if (IS("many-hogs")) {
        // Each within a bound of its own, all together not.
        for (int i = 0; i < 8; i++)
            if (fork() == 0) {
                setsid();
                size_t n = (size_t)atoi(a) << 20;
                char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (p != MAP_FAILED)
                    for (size_t j = 0; j < n; j += 4096) p[j] = 1;
                for (;;) pause();
            }
        usleep(atoi(b) * 1000);
        return verdict(0);
    }
    if (IS("fill")) {
        // Many files, none of them large.
        static char block[1 << 20];
        for (int i = 0; i < atoi(b); i++) {
            char path[4200];
            snprintf(path, sizeof path, "%s/fill-%d", a, i);
            int fd = open(path, O_CREAT | O_WRONLY, 0644);
            if (fd < 0 || write(fd, block, sizeof block) != sizeof block) return verdict(-1);
            close(fd);
        }
        usleep(atoi(c) * 1000);
        return verdict(0);
    }
    if (IS("fork-wait")) {
        for (int i = 0; i < atoi(a); i++) {
            pid_t pid = fork();
            if (pid < 0) return verdict(-1);
            if (pid == 0) {
                pause();
                _exit(0);
            }
        }
        usleep(atoi(b) * 1000);
        return verdict(0);
    }
    if (IS("deep")) {
        if (chdir(a)) return verdict(-1);
        for (int i = 0; i < atoi(b); i++)
            if (mkdir("d", 0755) || chdir("d")) return verdict(-1);
        return verdict(0);
    }
    if (IS("lock-up")) {
        // Directories that nobody may look into.
        if (chdir(a) || mkdir("locked", 0755) || mkdir("locked/in", 0755)) return verdict(-1);
        close(open("locked/in/file", O_CREAT | O_WRONLY, 0));
        return verdict(chmod("locked/in", 0) || chmod("locked", 0) || chmod(".", 0));
    }
    return -1;
#undef IS
}
