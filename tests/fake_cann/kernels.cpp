// The operators of a card, on the CPU: each kernel that torch_npu registers is replaced by one that gives torch's
// own CPU kernel the same memory. What makes, views or moves memory stays torch_npu's own.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <map>
#include <set>

namespace {

const std::set<std::string> KEPT{"aten::empty.memory_format", "aten::empty_strided", "aten::new_empty_strided",
                                 "aten::resize_", "aten::set_", "aten::_copy_from",
                                 "aten::_local_scalar_dense", "aten::record_stream", "aten::is_pinned",
                                 "aten::_pin_memory", "aten::pin_memory", "aten::contiguous"};

bool on_card(const at::Tensor& tensor) { return tensor.defined() && tensor.is_privateuseone(); }

at::Tensor alias(const at::Tensor& tensor, bool written) {
    if (!on_card(tensor)) return tensor;
    auto options = tensor.options().device(at::kCPU);
    // An output that comes empty is made as large as it has to be.
    if (written && !tensor.numel()) return at::empty({0}, options);
    return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), options);
}

at::Tensor lifted(const at::Tensor& values) {
    if (!values.defined()) return values;
    auto dense = values.contiguous();
    auto made = at::empty(dense.sizes(), dense.options().device(at::kPrivateUse1).pinned_memory(false));
    std::memcpy(made.data_ptr(), dense.data_ptr(), dense.nbytes());
    return made;
}

c10::IValue map(const c10::IValue& value, const std::function<at::Tensor(const at::Tensor&)>& change) {
    if (value.isTensor()) return change(value.toTensor());
    if (value.isTensorList()) {
        c10::List<at::Tensor> list;
        for (const at::Tensor& each : value.toTensorList()) list.push_back(change(each));
        return list;
    }
    if (value.isOptionalTensorList()) {
        c10::List<std::optional<at::Tensor>> list;
        for (const std::optional<at::Tensor>& each : value.toOptionalTensorList())
            list.push_back(each ? std::optional(change(*each)) : std::nullopt);
        return list;
    }
    if (value.isDevice() && value.toDevice().is_privateuseone()) return c10::Device(at::kCPU);
    if (value.isGenerator()) return c10::IValue();
    return value;
}

void run(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
    at::AutoDispatchBelowADInplaceOrView below;
    bool to_host = false;
    const auto& schema = op.schema();
    std::vector<c10::IValue> given(stack->end() - schema.arguments().size(), stack->end()), aliases;
    torch::jit::drop(*stack, given.size());
    for (size_t i = 0; i < given.size(); i++) {
        bool written = schema.arguments()[i].alias_info() && schema.arguments()[i].alias_info()->isWrite();
        to_host |= given[i].isDevice() && given[i].toDevice().is_cpu();
        aliases.push_back(map(given[i], [&](const at::Tensor& tensor) { return alias(tensor, written); }));
        stack->push_back(aliases.back());
    }
    op.callBoxed(stack);
    for (size_t i = 0; i < given.size(); i++)
        if (given[i].isTensor() && on_card(given[i].toTensor()) && !given[i].toTensor().numel()) {
            const auto &card = given[i].toTensor(), &cpu = aliases[i].toTensor();
            if (!cpu.numel()) continue;
            card.resize_(cpu.sizes());
            std::memcpy(card.data_ptr(), cpu.data_ptr(), cpu.nbytes());
        }
    std::vector<c10::IValue> results(stack->end() - schema.returns().size(), stack->end());
    torch::jit::drop(*stack, results.size());
    for (size_t i = 0; i < results.size(); i++) {
        const auto* info = schema.returns()[i].alias_info();
        auto result = to_host ? results[i] : map(results[i], lifted);
        for (size_t j = 0; info && j < given.size(); j++) {
            const auto* other = schema.arguments()[j].alias_info();
            if (other && other->afterSets() == info->afterSets()) result = given[j];
        }
        stack->push_back(result);
    }
}

bool views(const c10::FunctionSchema& schema) {
    for (const auto& each : schema.returns())
        if (each.alias_info() && !each.alias_info()->isWrite()) return true;
    return false;
}

// Copies that neither cast nor reorder are torch_npu's own.
std::map<std::string, c10::SafeKernelFunction> own;

void copy(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
    const auto* arguments = stack->data() + stack->size() - op.schema().arguments().size();
    const auto& tensor = arguments[0].toTensor();
    bool plain = tensor.is_contiguous();
    if (arguments[1].isTensor())
        plain &= arguments[1].toTensor().is_contiguous() && arguments[1].toTensor().dtype() == tensor.dtype() &&
                 arguments[1].toTensor().sizes() == tensor.sizes();
    else
        plain &= arguments[1].isNone() || arguments[1].toScalarType() == tensor.scalar_type();
    plain ? own.at(op.schema().name()).callBoxed(op, keys, stack) : run(op, keys, stack);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
    auto& dispatcher = c10::Dispatcher::singleton();
    for (const auto& name : dispatcher.getAllOpNames()) {
        auto op = dispatcher.findSchema(name);
        if (!op || name.name.rfind("aten::", 0) || !op->hasKernelForDispatchKey(c10::DispatchKey::PrivateUse1)) continue;
        auto full = toString(name);
        if (KEPT.count(full) || KEPT.count(name.name) || views(op->schema())) continue;
        if (full == "aten::copy_" || full == "aten::_to_copy") {
            own.emplace(name.name, op->getComputedKernelForDispatchKey(c10::DispatchKey::PrivateUse1));
            library.impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&copy>());
        } else {
            library.impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&run>());
        }
    }
}

}  // namespace
