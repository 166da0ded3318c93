"""Layer types that public nets use and netdef does not have, by the fork of Caffe that has them: for messages."""

from __future__ import annotations

from functools import cache

FORKS = {
    "NVIDIA/caffe": "DetectNetTransformation TRT",
    "intel/caffe": "BoxData MKLBatchNorm MklConvolution MklDeconvolution MnActivation SpatialDropout",
    "happynear/caffe-windows": (
        "Arccos BatchContrastiveLoss ConfidencePenaltyLoss CorrelationLoss Cosine EltwiseAffine FCNAccuracy Gram "
        "Hotspot Local MovingNormalize MultiLabelImageData NCALoss Noise Pairwise PredictBox Resize Slope "
        "SoftContrastiveLoss SoftTruncation SubRegion Transformer Truncation"
    ),
    "eric612/MobileNet-YOLO": "AssistedExcitation GaussianYolov3 LaneData SegmentationEvaluate",
    "foss-for-synopsys-dwc-arc-processors/synopsys-caffe": (
        "Accum AdaptiveBiasChannel Add Atan Attention BEGANLoss BiasChannel BlackAugmentation BroadcastTo Ceil "
        "ChannelNorm Corr1d Correlation Correlation1D CountNonzero CropAndResize DataAugmentation DenseCRF "
        "DepthToSpace Div DomainTransform DomainTransformForwardOnly Downsample EmbeddingLookup "
        "EmbeddingLookupSparse ExpandDimsND FLOWriter FarthestPointSample FloatReader FloatWriter Floor FloorDiv "
        "FloorMod FlowAugmentation FlowWarp GANLoss GRU GatherND GatherV2 Gemm GenerateAugmentationParameters "
        "GroupPoint HardTanH ICNetSubgraph LSTMV2 LogSoftmax LpNormalization LpqLoss LuongAttention "
        "MaskRCNNDetection MaskRCNNProposal MatMul MatRead MatWrite Maximum Mean Minimum MirrorPad Mul NMS "
        "NMSGather NonMaxSuppression NotEqual OneHot Pad PeepholeLSTM Piece Pooling3D Pow PyramidROIAlign "
        "QueryBallPoint RNNv2 ROIAlign Range ReduceAll ReduceAny ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax "
        "ReduceMean ReduceMin ReduceProd ReduceSum Resample ReverseSequence Round SSDDecoder SSDSort ScaledTanH "
        "ScatterND SeLUDropout Shape SimpleRNN Sin Softplus Softsign SpaceToDepth SparseToDense "
        "SpatialBatchingPooling SpatialProduct Squeeze SqueezeConvolution SqueezeDeconvolution SqueezeInnerProduct "
        "Stack StridedSlice Sub Tensor2Box ThreeInterpolate ThreeNN ThresholdedReLU TileND TopkGather UniqueLabel "
        "Unstack UpsampleDarknet Where4 Where4Gathernd Where4GatherndCrop XLU YoloV2Loss YoloV3Loss"
    ),
    "MyCaffe": (
        "AccuracyDecode AccuracyEncoding ChannelEmbedding DataSequence DataTemporal Debug Decode GateAddNorm Knn "
        "Lstm LstmAttention LstmSimple MemoryLoss MultiheadAttentionInterp Normalization2 QuantileAccuracy "
        "QuantileLoss ReshapeTemporal SoftmaxCrossEntropy2Loss SoftmaxCrossEntropyLoss TokenizedData "
        "TransformerBlock UnPooling VarSelNet"
    ),
    "ctensmeyer/binarization_2017": "BilinearInterpolation WeightedFmeasureLoss",
    "yjxiong/caffe": "SegData",
}


@cache
def forks() -> dict[str, str]:
    """Returns the fork of each type."""
    return {name: fork for fork, names in FORKS.items() for name in names.split()}
