// Attacks on whoever judges a call for the caller: what was looked at is no longer what is meant when the call is done.
#include <pthread.h>
#include <stdatomic.h>

static char race_path[512];
static char race_own[256], race_other[256];
static atomic_int race_over;
static int race_fd, race_fd_own, race_fd_other;

// Swaps the path in memory, as long as the others call.
static void *swap_memory(void *unused) {
    while (!race_over) {
        memcpy(race_path, race_other, sizeof race_other);
        __asm__ volatile("" ::: "memory");
        memcpy(race_path, race_own, sizeof race_own);
        __asm__ volatile("" ::: "memory");
    }
    return unused;
}

// Swaps what a link says.
static void *swap_link(void *unused) {
    char one[300], two[300];
    snprintf(one, sizeof one, "%s.one", race_own);
    snprintf(two, sizeof two, "%s.two", race_own);
    while (!race_over) {
        unlink(one);
        symlink(race_own, one);
        rename(one, race_path);
        unlink(two);
        symlink(race_other, two);
        rename(two, race_path);
    }
    return unused;
}

// Swaps a directory of the path for a link to another place.
static void *swap_directory(void *unused) {
    char real[300], link[300], at[300];
    snprintf(at, sizeof at, "%s.d", race_own);
    snprintf(real, sizeof real, "%s.real", race_own);
    snprintf(link, sizeof link, "%s.link", race_own);
    while (!race_over) {
        rename(at, link);
        rename(real, at);
        rename(at, real);
        rename(link, at);
    }
    return unused;
}

// Swaps what a descriptor stands for.
static void *swap_descriptor(void *unused) {
    while (!race_over) {
        dup2(race_fd_other, race_fd);
        dup2(race_fd_own, race_fd);
    }
    return unused;
}

// Calls until the other file has changed, or for half a second. Whether it has is for the test to see as well.
static int race(const char *how, const char *own, const char *other) {
    void *(*swap)(void *) = swap_memory;
    struct stat before, now;
    struct timespec t[2] = {{1, 0}, {1, 0}};
    snprintf(race_own, sizeof race_own, "%s", own);
    snprintf(race_other, sizeof race_other, "%s", other);
    snprintf(race_path, sizeof race_path, "%s", own);
    if (stat(other, &before)) memset(&before, 0, sizeof before);
    if (strcmp(how, "link") == 0) {
        swap = swap_link;
        snprintf(race_path, sizeof race_path, "%s.swapped", own);
        symlink(own, race_path);
    } else if (strcmp(how, "directory") == 0) {
        char name[300], parent[300];
        const char *base = strrchr(other, '/');
        swap = swap_directory;
        snprintf(name, sizeof name, "%s.real", own);
        mkdir(name, 0755);
        snprintf(parent, sizeof parent, "%.*s", (int)(base - other), other);
        snprintf(name, sizeof name, "%s.d", own);
        symlink(parent, name);
        snprintf(race_path, sizeof race_path, "%s.real%s", own, base);
        close(open(race_path, O_CREAT | O_WRONLY, 0644));
        snprintf(race_path, sizeof race_path, "%s.d%s", own, base);
    } else if (strcmp(how, "descriptor") == 0) {
        swap = swap_descriptor;
        race_fd = open(own, O_RDONLY);
        race_fd_own = open(own, O_RDONLY);
        // Opening to read is denied; as a path it is not, without namespaces.
        race_fd_other = open(other, O_RDONLY);
        if (race_fd_other < 0) race_fd_other = open(other, O_PATH);
        if (race_fd_other < 0) return verdict(-1);
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, swap, NULL)) return 2;
    int changed = 0;
    struct timespec start, time;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; !changed; i++) {
        clock_gettime(CLOCK_MONOTONIC, &time);
        if (i > 2000 && (time.tv_sec - start.tv_sec) * 1000 + (time.tv_nsec - start.tv_nsec) / 1000000 > 500) break;
        if (strcmp(how, "descriptor") == 0) {
            fchmod(race_fd, 0777);
            futimens(race_fd, t);
        } else {
            chmod(race_path, 0777);
            utimensat(AT_FDCWD, race_path, t, 0);
        }
        if (i % 16 == 0 && stat(other, &now) == 0)
            changed = now.st_mode != before.st_mode || now.st_mtime != before.st_mtime;
    }
    race_over = 1;
    pthread_join(thread, NULL);
    errno = EPERM;
    return verdict(changed ? 0 : -1);
}
