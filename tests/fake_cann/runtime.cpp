/* The part of CANN's run time that torch_npu calls in a training: device memory is the process's own, streams
 * are done with whatever they are given at once. Everything else is a generated stub that returns an error. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "acl/acl.h"
#include "acl/acl_op_compiler.h"

#define SERVED(...) { __VA_ARGS__; return ACL_SUCCESS; }

static __thread int32_t device = -1;
static const size_t MEMORY = (size_t)32 << 30;

aclError aclInit(const char *path) SERVED((void)path)
aclError aclFinalize(void) SERVED()
const char *aclGetRecentErrMsg(void) { return "a fake CANN has no messages"; }
void aclAppLog(aclLogLevel level, const char *func, const char *file, uint32_t line, const char *format, ...) {}
const char *aclrtGetSocName(void) { return "Ascend910B3"; }

aclError aclrtGetDeviceCount(uint32_t *count) {
    const char *text = getenv("FAKE_NPUS");
    return *count = text ? (uint32_t)atoi(text) : 1, ACL_SUCCESS;
}

aclError aclrtSetDevice(int32_t index) {
    uint32_t count;
    aclrtGetDeviceCount(&count);
    if (index < 0 || (uint32_t)index >= count) return ACL_ERROR_INVALID_PARAM;
    return device = index, ACL_SUCCESS;
}
aclError aclrtGetDevice(int32_t *index) { return *index = device, device < 0 ? ACL_ERROR_INVALID_PARAM : ACL_SUCCESS; }
aclError aclrtResetDevice(int32_t index) SERVED((void)index)
aclError aclrtSynchronizeDevice(void) SERVED()
aclError aclrtGetCurrentContext(aclrtContext *context) SERVED(*context = &device)
aclError aclrtSetCurrentContext(aclrtContext context) SERVED((void)context)
aclError aclrtDeviceCanAccessPeer(int32_t *can, int32_t a, int32_t b) SERVED(*can = 0)
aclError aclrtDeviceGetBareTgid(int32_t *pid) SERVED(*pid = getpid())
aclError aclGetDeviceCapability(uint32_t index, aclDeviceInfo info, int64_t *value) SERVED(*value = 1)
aclError aclrtGetMemInfo(aclrtMemAttr attr, size_t *free, size_t *total) SERVED(*free = *total = MEMORY)

aclError aclrtMalloc(void **pointer, size_t size, aclrtMemMallocPolicy policy) {
    return posix_memalign(pointer, 512, size) ? ACL_ERROR_BAD_ALLOC : ACL_SUCCESS;
}
aclError aclrtMallocAlign32(void **pointer, size_t size, aclrtMemMallocPolicy policy) {
    return aclrtMalloc(pointer, size, policy);
}
aclError aclrtMallocHost(void **pointer, size_t size) { return aclrtMalloc(pointer, size, ACL_MEM_MALLOC_HUGE_FIRST); }
aclError aclrtFree(void *pointer) SERVED(free(pointer))
aclError aclrtFreeHost(void *pointer) SERVED(free(pointer))

aclError aclrtMemcpy(void *to, size_t room, const void *from, size_t size, aclrtMemcpyKind kind) {
    if (size > room) return ACL_ERROR_INVALID_PARAM;
    return memmove(to, from, size), ACL_SUCCESS;
}
aclError aclrtMemcpyAsync(void *to, size_t room, const void *from, size_t size, aclrtMemcpyKind kind,
                          aclrtStream stream) {
    return aclrtMemcpy(to, room, from, size, kind);
}
aclError aclrtMemset(void *to, size_t room, int32_t value, size_t size) SERVED(memset(to, value, size))
aclError aclrtMemsetAsync(void *to, size_t room, int32_t value, size_t size, aclrtStream stream) {
    return aclrtMemset(to, room, value, size);
}

aclError aclrtCreateStream(aclrtStream *stream) SERVED(*stream = malloc(1))
aclError aclrtCreateStreamWithConfig(aclrtStream *stream, uint32_t priority, uint32_t flag) {
    return aclrtCreateStream(stream);
}
aclError aclrtDestroyStream(aclrtStream stream) SERVED(free(stream))
aclError aclrtDestroyStreamForce(aclrtStream stream) SERVED(free(stream))
aclError aclrtSynchronizeStream(aclrtStream stream) SERVED((void)stream)
aclError aclrtSynchronizeStreamWithTimeout(aclrtStream stream, int32_t timeout) SERVED((void)stream)
aclError aclrtStreamQuery(aclrtStream stream, aclrtStreamStatus *status) SERVED(*status = ACL_STREAM_STATUS_COMPLETE)
aclError aclrtStreamWaitEvent(aclrtStream stream, aclrtEvent event) SERVED((void)stream)

aclError aclrtCreateEventExWithFlag(aclrtEvent *event, uint32_t flag) SERVED(*event = calloc(1, sizeof(double)))
aclError aclrtCreateEventWithFlag(aclrtEvent *event, uint32_t flag) { return aclrtCreateEventExWithFlag(event, flag); }
aclError aclrtDestroyEvent(aclrtEvent event) SERVED(free(event))
aclError aclrtRecordEvent(aclrtEvent event, aclrtStream stream) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return *(double *)event = 1e3 * now.tv_sec + 1e-6 * now.tv_nsec, ACL_SUCCESS;
}
aclError aclrtResetEvent(aclrtEvent event, aclrtStream stream) SERVED((void)event)
aclError aclrtSynchronizeEvent(aclrtEvent event) SERVED((void)event)
aclError aclrtQueryEventStatus(aclrtEvent event, aclrtEventRecordedStatus *status) {
    return *status = ACL_EVENT_RECORDED_STATUS_COMPLETE, ACL_SUCCESS;
}
aclError aclrtQueryEventWaitStatus(aclrtEvent event, aclrtEventWaitStatus *status) {
    return *status = ACL_EVENT_WAIT_STATUS_COMPLETE, ACL_SUCCESS;
}
aclError aclrtEventElapsedTime(float *ms, aclrtEvent start, aclrtEvent end) {
    return *ms = (float)(*(double *)end - *(double *)start), ACL_SUCCESS;
}
aclError aclrtSetDeviceSatMode(aclrtFloatOverflowMode mode) SERVED((void)mode)
aclError aclrtGetPrimaryCtxState(int32_t index, uint32_t *flags, int32_t *active) SERVED(*active = device == index)
aclError aclSetCompileopt(aclCompileOpt option, const char *value) SERVED((void)value)
aclError aclrtGetSysParamOpt(aclSysParamOpt option, int64_t *value) SERVED(*value = 0)
aclError aclrtSetSysParamOpt(aclSysParamOpt option, int64_t value) SERVED((void)value)
aclError aclrtCtxSetSysParamOpt(aclSysParamOpt option, int64_t value) SERVED((void)value)
aclError aclrtSetOpExecuteTimeOut(uint32_t seconds) SERVED((void)seconds)
aclError aclrtSetOpWaitTimeout(uint32_t seconds) SERVED((void)seconds)
aclError aclrtStreamGetId(aclrtStream stream, int32_t *id) SERVED(*id = 0)
aclError aclrtSetStreamFailureMode(aclrtStream stream, uint64_t mode) SERVED((void)mode)
