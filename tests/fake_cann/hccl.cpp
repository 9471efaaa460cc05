/* Collectives of the processes of one machine: each rank lays a piece of its values into a segment of shared
 * memory, waits for the others, and reads theirs. Sums go by the order of ranks. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "acl/acl.h"
#include "third_party/hccl/inc/hccl/hccl.h"

#define PIECE ((uint64_t)1 << 20)
#define MIN(a, b) ((a) < (b) ? (a) : (b))

struct Meeting { int arrived, round; };
struct Group {
    char name[64];
    uint32_t ranks, rank;
    Meeting *meeting;
    char *pieces;
};

static size_t length(uint32_t ranks) { return 4096 + ranks * PIECE; }

HcclResult HcclGetRootInfo(HcclRootInfo *info) {
    static int count;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    sprintf(info->internal, "/fake-hccl-%d-%d-%lx", getpid(), count++, now.tv_nsec);
    return HCCL_SUCCESS;
}

/* All ranks come here as often, or the time that a real HCCL is given runs out. */
static HcclResult meet(Group *group) {
    Meeting *meeting = group->meeting;
    const char *limit = getenv("HCCL_EXEC_TIMEOUT");
    time_t end = time(NULL) + (limit ? atoi(limit) : 600);
    int round = __atomic_load_n(&meeting->round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&meeting->arrived, 1, __ATOMIC_ACQ_REL) == (int)group->ranks) {
        meeting->arrived = 0;
        __atomic_add_fetch(&meeting->round, 1, __ATOMIC_ACQ_REL);
        return HCCL_SUCCESS;
    }
    while (__atomic_load_n(&meeting->round, __ATOMIC_ACQUIRE) == round) {
        if (time(NULL) > end) return HCCL_E_TIMEOUT;
        usleep(50);
    }
    return HCCL_SUCCESS;
}

HcclResult HcclCommInitRootInfo(uint32_t ranks, const HcclRootInfo *info, uint32_t rank, HcclComm *comm) {
    Group *group = (Group *)calloc(1, sizeof *group);
    int file = shm_open(info->internal, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, length(ranks))) return HCCL_E_SYSCALL;
    group->pieces = (char *)mmap(NULL, length(ranks), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if ((void *)group->pieces == MAP_FAILED) return HCCL_E_MEMORY;
    group->meeting = (Meeting *)group->pieces;
    group->pieces += 4096;
    group->ranks = ranks, group->rank = rank;
    strncpy(group->name, info->internal, sizeof group->name - 1);
    *comm = group;
    HcclResult met = meet(group);
    shm_unlink(group->name);
    return met;
}
HcclResult HcclCommInitRootInfoConfig(uint32_t ranks, const HcclRootInfo *info, uint32_t rank,
                                      const HcclCommConfig *config, HcclComm *comm) {
    return HcclCommInitRootInfo(ranks, info, rank, comm);
}
HcclResult HcclCommDestroy(HcclComm comm) {
    Group *group = (Group *)comm;
    munmap(group->pieces - 4096, length(group->ranks));
    return free(group), HCCL_SUCCESS;
}
HcclResult HcclGetCommName(HcclComm comm, char *name) { return strcpy(name, ((Group *)comm)->name), HCCL_SUCCESS; }
HcclResult HcclGetCommAsyncError(HcclComm comm, HcclResult *error) { return *error = HCCL_SUCCESS; }
uint32_t HcclGetCommConfigCapability(void) { return 0; }

static size_t width(HcclDataType type) {
    switch (type) {
    case HCCL_DATA_TYPE_INT8: case HCCL_DATA_TYPE_UINT8: return 1;
    case HCCL_DATA_TYPE_INT16: case HCCL_DATA_TYPE_FP16: case HCCL_DATA_TYPE_BFP16: return 2;
    case HCCL_DATA_TYPE_INT32: case HCCL_DATA_TYPE_FP32: return 4;
    case HCCL_DATA_TYPE_INT64: return 8;
    default: return 0; /* float64 among them, which the real one does not take either */
    }
}

#define REDUCE(T) for (uint64_t i = 0; i < count; i++) { \
    T a = ((T *)into)[i], b = ((const T *)from)[i]; \
    ((T *)into)[i] = op == HCCL_REDUCE_SUM ? (T)(a + b) : op == HCCL_REDUCE_MAX ? (a > b ? a : b) : MIN(a, b); }

static HcclResult reduce(void *into, const void *from, uint64_t count, HcclDataType type, HcclReduceOp op) {
    switch (type) {
    case HCCL_DATA_TYPE_FP32: REDUCE(float) break;
    case HCCL_DATA_TYPE_FP16: REDUCE(_Float16) break;
    case HCCL_DATA_TYPE_INT32: REDUCE(int32_t) break;
    case HCCL_DATA_TYPE_INT64: REDUCE(int64_t) break;
    case HCCL_DATA_TYPE_INT8: REDUCE(int8_t) break;
    case HCCL_DATA_TYPE_UINT8: REDUCE(uint8_t) break;
    default: return HCCL_E_NOT_SUPPORT;
    }
    return HCCL_SUCCESS;
}

#define TRY(call) do { HcclResult result = (call); if (result) return result; } while (0)

HcclResult HcclAllReduce(void *send, void *receive, uint64_t count, HcclDataType type, HcclReduceOp op, HcclComm comm,
                         aclrtStream stream) {
    Group *group = (Group *)comm;
    if (!width(type) || op == HCCL_REDUCE_PROD) return HCCL_E_NOT_SUPPORT;
    for (uint64_t done = 0, step = PIECE / width(type); done < count; done += step) {
        uint64_t some = MIN(step, count - done), at = done * width(type), size = some * width(type);
        memcpy(group->pieces + group->rank * PIECE, (char *)send + at, size);
        TRY(meet(group));
        memcpy((char *)receive + at, group->pieces, size);
        for (uint32_t rank = 1; rank < group->ranks; rank++)
            TRY(reduce((char *)receive + at, group->pieces + rank * PIECE, some, type, op));
        TRY(meet(group));
    }
    return HCCL_SUCCESS;
}

HcclResult HcclAllGather(void *send, void *receive, uint64_t count, HcclDataType type, HcclComm comm,
                         aclrtStream stream) {
    Group *group = (Group *)comm;
    uint64_t whole = count * width(type);
    if (!width(type)) return HCCL_E_NOT_SUPPORT;
    for (uint64_t done = 0; done < whole; done += PIECE) {
        uint64_t size = MIN(PIECE, whole - done);
        memcpy(group->pieces + group->rank * PIECE, (char *)send + done, size);
        TRY(meet(group));
        for (uint32_t rank = 0; rank < group->ranks; rank++)
            memcpy((char *)receive + rank * whole + done, group->pieces + rank * PIECE, size);
        TRY(meet(group));
    }
    return HCCL_SUCCESS;
}

HcclResult HcclBroadcast(void *values, uint64_t count, HcclDataType type, uint32_t root, HcclComm comm,
                         aclrtStream stream) {
    Group *group = (Group *)comm;
    uint64_t whole = count * width(type);
    if (!width(type)) return HCCL_E_NOT_SUPPORT;
    for (uint64_t done = 0; done < whole; done += PIECE) {
        uint64_t size = MIN(PIECE, whole - done);
        if (group->rank == root) memcpy(group->pieces, (char *)values + done, size);
        TRY(meet(group));
        memcpy((char *)values + done, group->pieces, size);
        TRY(meet(group));
    }
    return HCCL_SUCCESS;
}
