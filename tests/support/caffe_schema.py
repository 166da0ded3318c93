"""The fields of Caffe's nets and solvers, for protobuf's text format.

`message("NetParameter")` creates the class with the protobuf package; `text_format.Parse(text, message(...)())` then
reads a prototxt as Caffe does.  Layers in the format before 2015 (V0, V1) and weights are not included.
Source: names and types of BVLC/caffe src/caffe/proto/caffe.proto, 1.0.  Field numbers are arbitrary, because the text
format does not use them.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

# A line: a message and its fields, `*` if repeated; words separated by | are an enumeration, numbered from 0.
FIELDS = """
AccuracyParameter: top_k:uint32 axis:int32 ignore_label:int32
ArgMaxParameter: out_max_val:bool top_k:uint32 axis:int32
BatchNormParameter: use_global_stats:bool moving_average_fraction:float eps:float
BiasParameter: axis:int32 num_axes:int32 filler:FillerParameter
BlobShape: *dim:int64
ClipParameter: min:float max:float
ConcatParameter: axis:int32 concat_dim:uint32
ContrastiveLossParameter: margin:float legacy_version:bool
ConvolutionParameter: num_output:uint32 bias_term:bool *pad:uint32 *kernel_size:uint32 *stride:uint32
    *dilation:uint32 pad_h:uint32 pad_w:uint32 kernel_h:uint32 kernel_w:uint32 stride_h:uint32 stride_w:uint32
    group:uint32 weight_filler:FillerParameter bias_filler:FillerParameter engine:DEFAULT|CAFFE|CUDNN axis:int32
    force_nd_im2col:bool
CropParameter: axis:int32 *offset:uint32
DataParameter: source:string batch_size:uint32 rand_skip:uint32 backend:LEVELDB|LMDB scale:float
    mean_file:string crop_size:uint32 mirror:bool force_encoded_color:bool prefetch:uint32
DropoutParameter: dropout_ratio:float
DummyDataParameter: *data_filler:FillerParameter *shape:BlobShape *num:uint32 *channels:uint32 *height:uint32
    *width:uint32
ELUParameter: alpha:float
EltwiseParameter: operation:PROD|SUM|MAX *coeff:float stable_prod_grad:bool
EmbedParameter: num_output:uint32 input_dim:uint32 bias_term:bool weight_filler:FillerParameter
    bias_filler:FillerParameter
ExpParameter: base:float scale:float shift:float
FillerParameter: type:string value:float min:float max:float mean:float std:float sparse:int32
    variance_norm:FAN_IN|FAN_OUT|AVERAGE
FlattenParameter: axis:int32 end_axis:int32
HDF5DataParameter: source:string batch_size:uint32 shuffle:bool
HDF5OutputParameter: file_name:string
HingeLossParameter: norm:L1=1|L2=2
ImageDataParameter: source:string batch_size:uint32 rand_skip:uint32 shuffle:bool new_height:uint32
    new_width:uint32 is_color:bool scale:float mean_file:string crop_size:uint32 mirror:bool root_folder:string
InfogainLossParameter: source:string axis:int32
InnerProductParameter: num_output:uint32 bias_term:bool weight_filler:FillerParameter
    bias_filler:FillerParameter axis:int32 transpose:bool
InputParameter: *shape:BlobShape
LRNParameter: local_size:uint32 alpha:float beta:float norm_region:ACROSS_CHANNELS|WITHIN_CHANNEL k:float
    engine:DEFAULT|CAFFE|CUDNN
LayerParameter: name:string type:string *bottom:string *top:string phase:TRAIN|TEST *loss_weight:float
    *param:ParamSpec *propagate_down:bool *include:NetStateRule *exclude:NetStateRule
    transform_param:TransformationParameter loss_param:LossParameter accuracy_param:AccuracyParameter
    argmax_param:ArgMaxParameter batch_norm_param:BatchNormParameter bias_param:BiasParameter
    clip_param:ClipParameter concat_param:ConcatParameter contrastive_loss_param:ContrastiveLossParameter
    convolution_param:ConvolutionParameter crop_param:CropParameter data_param:DataParameter
    dropout_param:DropoutParameter dummy_data_param:DummyDataParameter eltwise_param:EltwiseParameter
    elu_param:ELUParameter embed_param:EmbedParameter exp_param:ExpParameter flatten_param:FlattenParameter
    hdf5_data_param:HDF5DataParameter hdf5_output_param:HDF5OutputParameter hinge_loss_param:HingeLossParameter
    image_data_param:ImageDataParameter infogain_loss_param:InfogainLossParameter
    inner_product_param:InnerProductParameter input_param:InputParameter log_param:LogParameter
    lrn_param:LRNParameter memory_data_param:MemoryDataParameter mvn_param:MVNParameter
    parameter_param:ParameterParameter pooling_param:PoolingParameter power_param:PowerParameter
    prelu_param:PReLUParameter python_param:PythonParameter recurrent_param:RecurrentParameter
    reduction_param:ReductionParameter relu_param:ReLUParameter reshape_param:ReshapeParameter
    scale_param:ScaleParameter sigmoid_param:SigmoidParameter softmax_param:SoftmaxParameter
    spp_param:SPPParameter slice_param:SliceParameter swish_param:SwishParameter tanh_param:TanHParameter
    threshold_param:ThresholdParameter tile_param:TileParameter window_data_param:WindowDataParameter
LogParameter: base:float scale:float shift:float
LossParameter: ignore_label:int32 normalization:FULL|VALID|BATCH_SIZE|NONE normalize:bool
MVNParameter: normalize_variance:bool across_channels:bool eps:float
MemoryDataParameter: batch_size:uint32 channels:uint32 height:uint32 width:uint32
NetParameter: name:string *input:string *input_shape:BlobShape *input_dim:int32 force_backward:bool
    state:NetState debug_info:bool *layer:LayerParameter
NetState: phase:TRAIN|TEST level:int32 *stage:string
NetStateRule: phase:TRAIN|TEST min_level:int32 max_level:int32 *stage:string *not_stage:string
PReLUParameter: filler:FillerParameter channel_shared:bool
ParamSpec: name:string share_mode:STRICT|PERMISSIVE lr_mult:float decay_mult:float
ParameterParameter: shape:BlobShape
PoolingParameter: pool:MAX|AVE|STOCHASTIC pad:uint32 pad_h:uint32 pad_w:uint32 kernel_size:uint32
    kernel_h:uint32 kernel_w:uint32 stride:uint32 stride_h:uint32 stride_w:uint32 engine:DEFAULT|CAFFE|CUDNN
    global_pooling:bool round_mode:CEIL|FLOOR
PowerParameter: power:float scale:float shift:float
PythonParameter: module:string layer:string param_str:string share_in_parallel:bool
ReLUParameter: negative_slope:float engine:DEFAULT|CAFFE|CUDNN
RecurrentParameter: num_output:uint32 weight_filler:FillerParameter bias_filler:FillerParameter debug_info:bool
    expose_hidden:bool
ReductionParameter: operation:SUM=1|ASUM=2|SUMSQ=3|MEAN=4 axis:int32 coeff:float
ReshapeParameter: shape:BlobShape axis:int32 num_axes:int32
SPPParameter: pyramid_height:uint32 pool:MAX|AVE|STOCHASTIC engine:DEFAULT|CAFFE|CUDNN
ScaleParameter: axis:int32 num_axes:int32 filler:FillerParameter bias_term:bool bias_filler:FillerParameter
SigmoidParameter: engine:DEFAULT|CAFFE|CUDNN
SliceParameter: axis:int32 *slice_point:uint32 slice_dim:uint32
SoftmaxParameter: engine:DEFAULT|CAFFE|CUDNN axis:int32
SolverParameter: net:string net_param:NetParameter train_net:string *test_net:string
    train_net_param:NetParameter *test_net_param:NetParameter train_state:NetState *test_state:NetState
    *test_iter:int32 test_interval:int32 test_compute_loss:bool test_initialization:bool base_lr:float
    display:int32 average_loss:int32 max_iter:int32 iter_size:int32 lr_policy:string gamma:float power:float
    momentum:float weight_decay:float regularization_type:string stepsize:int32 *stepvalue:int32
    clip_gradients:float snapshot:int32 snapshot_prefix:string snapshot_diff:bool
    snapshot_format:HDF5|BINARYPROTO solver_mode:CPU|GPU device_id:int32 random_seed:int64 type:string
    delta:float momentum2:float rms_decay:float debug_info:bool snapshot_after_train:bool
    solver_type:SGD|NESTEROV|ADAGRAD|RMSPROP|ADADELTA|ADAM layer_wise_reduce:bool *weights:string
SwishParameter: beta:float
TanHParameter: engine:DEFAULT|CAFFE|CUDNN
ThresholdParameter: threshold:float
TileParameter: axis:int32 tiles:int32
TransformationParameter: scale:float mirror:bool crop_size:uint32 mean_file:string *mean_value:float
    force_color:bool force_gray:bool
WindowDataParameter: source:string scale:float mean_file:string batch_size:uint32 crop_size:uint32 mirror:bool
    fg_threshold:float bg_threshold:float fg_fraction:float context_pad:uint32 crop_mode:string
    cache_images:bool root_folder:string
"""


@cache
def message(name: str) -> type:
    """Returns the protobuf class of a message."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for owner, fields in re.findall(r"^(\w+): (.*)$", FIELDS.replace("\n    ", " "), flags=re.M):
        made = file.message_type.add(name=owner)
        for number, text in enumerate(fields.split(), start=1):
            _add(made, number, *text.split(":"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))


def _add(made: Any, number: int, name: str, kind: str) -> None:
    field = made.field.add(name=name.lstrip("*"), number=number, label=3 if name[0] == "*" else 1)
    if "|" in kind:
        words = made.enum_type.add(name=f"Words{number}")
        for i, word in enumerate(kind.split("|")):
            bare, _, value = word.partition("=")
            words.value.add(name=bare, number=int(value or i))
        field.type, field.type_name = field.TYPE_ENUM, f".caffe.{made.name}.{words.name}"
    elif kind[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".caffe.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
