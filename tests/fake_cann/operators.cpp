/* Operators that torch_npu has CANN compile by name, not by way of torch: two are asked for in a training,
 * by an all-gather, which pads what is sent. All others are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acl/acl.h"
#include "acl/acl_op_compiler.h"

struct aclTensorDesc {
    int64_t rows; /* all but the last dimension */
};
struct aclDataBuffer {
    void *data;
    size_t size;
};

aclTensorDesc *aclCreateTensorDesc(aclDataType type, int count, const int64_t *dims, aclFormat format) {
    aclTensorDesc *desc = new aclTensorDesc{1};
    for (int i = 0; i + 1 < count; i++) desc->rows *= dims[i];
    return desc;
}
aclError aclSetTensorFormat(aclTensorDesc *desc, aclFormat format) { return ACL_SUCCESS; }
aclError aclSetTensorShape(aclTensorDesc *desc, int count, const int64_t *dims) { return ACL_SUCCESS; }
aclError aclSetTensorPlaceMent(aclTensorDesc *desc, aclMemType type) { return ACL_SUCCESS; }
void aclSetTensorDescName(aclTensorDesc *desc, const char *name) {}
void aclDestroyTensorDesc(const aclTensorDesc *desc) { delete desc; }
aclDataBuffer *aclCreateDataBuffer(void *data, size_t size) { return new aclDataBuffer{data, size}; }
aclError aclDestroyDataBuffer(const aclDataBuffer *buffer) { return delete buffer, ACL_SUCCESS; }
aclopAttr *aclopCreateAttr(void) { return (aclopAttr *)malloc(1); }
void aclopDestroyAttr(const aclopAttr *attributes) { free((void *)attributes); }

aclError aclopSetAttrString(aclopAttr *attributes, const char *name, const char *value) { return ACL_SUCCESS; }
aclError aclopSetAttrBool(aclopAttr *attributes, const char *name, uint8_t value) { return ACL_SUCCESS; }

/* Write a value over and over. */
static void fill(char *to, size_t size, const aclDataBuffer *value) {
    for (size_t at = 0; at + value->size <= size; at += value->size) memcpy(to + at, value->data, value->size);
}

/* Whether all numbers of a padding but the last are 0. */
static bool at_the_end(const aclDataBuffer *padding) {
    const int32_t *numbers = (const int32_t *)padding->data;
    for (size_t i = 0; i + 1 < padding->size / sizeof *numbers; i++)
        if (numbers[i]) return false;
    return true;
}

aclError aclopCompileAndExecute(const char *type, int, const aclTensorDesc *const of_inputs[],
                                const aclDataBuffer *const inputs[], int, const aclTensorDesc *const[],
                                aclDataBuffer *const outputs[], const aclopAttr *, aclopEngineType, aclopCompileType,
                                const char *, aclrtStream) {
    char *to = (char *)outputs[0]->data;
    size_t room = outputs[0]->size, given = inputs[0]->size;
    if (!strcmp(type, "Fill")) return fill(to, room, inputs[1]), ACL_SUCCESS;
    if (!strcmp(type, "PadV3") && of_inputs[0]->rows == 1 && at_the_end(inputs[1]) && given <= room) {
        memcpy(to, inputs[0]->data, given);
        return fill(to + given, room - given, inputs[2]), ACL_SUCCESS;
    }
    fprintf(stderr, "fake CANN: the operator %s is not served\n", type);
    return ACL_ERROR_FEATURE_UNSUPPORTED;
}
