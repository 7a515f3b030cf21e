"""Image URIs: the repository's name, which alone decides what an image stands for, and what to say of one that stands for nothing.

Owns the names of SageMaker's built-in algorithms that Clary does not implement. Does not know which runtimes there are.
"""

from __future__ import annotations

from typing import NamedTuple

_CONVOLUTION = "torch.nn.Conv2d in the runtime pytorch"
_EMBEDDING = "torch.nn.Embedding in the runtime pytorch"
_TABLES = "lightgbm.LGBMClassifier or LGBMRegressor in the runtime lightgbm"


class Algorithm(NamedTuple):
    """A built-in algorithm of SageMaker: its name, and what a script of one's own does the same with."""

    title: str
    instead: str


# By repository, as the SageMaker SDK's image lists name them (sdk.md 8). A row goes when Clary implements the algorithm. LightGBM,
# CatBoost and TabTransformer have no repositories of their own: JumpStart runs scripts of theirs in the images of frameworks.
NOT_IMPLEMENTED = {
    "autogluon-inference": Algorithm("AutoGluon-Tabular", _TABLES),
    "autogluon-training": Algorithm("AutoGluon-Tabular", _TABLES),
    "blazingtext": Algorithm("BlazingText", "HashingVectorizer and SGDClassifier in the runtime sklearn"),
    "factorization-machines": Algorithm("Factorization Machines", _EMBEDDING),
    "forecasting-deepar": Algorithm("DeepAR", "torch.nn.LSTM in the runtime pytorch"),
    "image-classification": Algorithm("Image Classification", _CONVOLUTION),
    "ipinsights": Algorithm("IP Insights", _EMBEDDING),
    "kmeans": Algorithm("K-Means", "sklearn.cluster.MiniBatchKMeans in the runtime sklearn"),
    "knn": Algorithm("k-NN", "sklearn.neighbors.KNeighborsClassifier or KNeighborsRegressor in the runtime sklearn"),
    "lda": Algorithm("LDA", "sklearn.decomposition.LatentDirichletAllocation in the runtime sklearn"),
    "linear-learner": Algorithm(
        "Linear Learner", "sklearn.linear_model.SGDClassifier or SGDRegressor in the runtime sklearn"
    ),
    "ntm": Algorithm("Neural Topic Model", "sklearn.decomposition.LatentDirichletAllocation in the runtime sklearn"),
    "object-detection": Algorithm("Object Detection", _CONVOLUTION),
    "object2vec": Algorithm("Object2Vec", _EMBEDDING),
    "pca": Algorithm("PCA", "sklearn.decomposition.IncrementalPCA in the runtime sklearn"),
    "randomcutforest": Algorithm("Random Cut Forest", "sklearn.ensemble.IsolationForest in the runtime sklearn"),
    "semantic-segmentation": Algorithm("Semantic Segmentation", _CONVOLUTION),
    "seq2seq": Algorithm("Sequence-to-Sequence", "torch.nn.Transformer in the runtime pytorch"),
}


class Unknown(NamedTuple):
    """Of an image that stands for no runtime: the beginning of a sentence, and a sentence that says what to do."""

    what: str
    instead: str


def repository(image: str) -> str:
    """`683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1` -> `sagemaker-xgboost`; "" when there is none."""
    path = image.partition("@")[0]
    first, slash, rest = path.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        path = rest
    return path.rpartition("/")[2].partition(":")[0]


def resolved(image: str, digest: str) -> str:
    """The image by its digest (`sha256:...`) in place of its tag, as AWS shows it."""
    folders, slash, name = image.partition("@")[0].rpartition("/")
    return f"{folders}{slash}{name.partition(':')[0]}@{digest}"


def unknown(image: str) -> Unknown:
    """What an image is that stands for no runtime, and the way out."""
    algorithm = NOT_IMPLEMENTED.get(repository(image))
    if algorithm is None:
        return Unknown(
            f"Image '{image}' stands for no runtime of Clary",
            "If the code in this image runs in one of Clary's runtimes (clary runtime list), say so where Clary runs: clary runtime add "
            f"{image} RUNTIME",
        )
    return Unknown(
        f"Image '{image}' is SageMaker's built-in algorithm {algorithm.title}, which Clary does not implement",
        f"Train and serve a script of your own instead, with {algorithm.instead}",
    )
