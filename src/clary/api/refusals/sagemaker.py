"""What Clary will not have of SageMaker: families of operations, each with what it is, why it is not here, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_LABELLING = (
    "Ground Truth and A2I ask people to label and review data; Clary has no workforce and no pages for one. Label with a tool of "
    "your own and store its output manifest in S3: training jobs read it as an AugmentedManifestFile."
)
_COMPILATION = (
    "Neo compiles models for hardware that AWS knows, and optimization jobs need its GPUs; Clary serves models as they are. Export "
    "the model to ONNX in a training job and deploy that: the ONNX Runtime of Clary optimizes it when it loads."
)
_EDGE = (
    "Edge Manager packages models for fleets of devices, and AWS has ended it; Clary manages no devices. Fetch model.tar.gz from "
    "S3 with the device's own deployment tool."
)
_HYPERPOD = (
    "HyperPod rents and repairs clusters of AWS's machines for Slurm and Kubernetes; Clary uses the machines that it runs on. "
    "Start training jobs with InstanceCount above 1, or use your own cluster's scheduler."
)
_QUOTAS = (
    'Compute quotas divide a HyperPod cluster among teams; Clary has no clusters of its own. Set `capacity = "strict"` to reserve '
    "what instance types say, and give each team an account."
)
_SESSIONS = (
    "Training sessions keep AWS's accelerators for interactive customization of its models; Clary has neither. Start a training "
    "job: it starts within a second, and `clary shell JOB` enters its sandbox."
)
_JOBS = (
    "Generic jobs carry schemas that AWS defines for services of its own. Use CreateTrainingJob, which runs any script."
)
_BENCHMARKS = (
    "These jobs try a generative model on AWS's instance types and recommend one; Clary has one machine to offer. Deploy the "
    "model, and read `clary top` and the endpoint's metrics under your own load."
)
_ROUTERS = (
    "Inference routers choose among endpoints for each prompt. Give one endpoint several variants with weights, or name the "
    "variant with TargetVariant."
)
_NOTEBOOKS = (
    "A notebook instance is a machine of AWS's with Jupyter; Clary runs on your own. Run `jupyter lab` yourself, with the "
    "environment that `clary env` prints."
)
_STUDIO = (
    "Studio's apps run in AWS's browser environment, which Clary does not have: its domains, user profiles and spaces are records. "
    "Run JupyterLab or an editor yourself, with the environment that `clary env` prints."
)
_PROJECTS = (
    "Projects are templates of AWS's Service Catalog that set up CodePipeline and CodeBuild, which Clary does not have. Keep the "
    "code in a Git repository, and call Clary from its own CI (the pytest plugin starts one)."
)
_PARTNERS = (
    "Partner apps are products that AWS hosts for their vendors. Install the product beside Clary, and point it at Clary's API and "
    "S3."
)
_PLANS = (
    "Training plans buy AWS's accelerators for a time; Clary's capacity is the machine's. Jobs wait for room in order of arrival: "
    "`clary capacity` shows who holds what."
)
_PRESIGNED = (
    "Presigned URLs download the models of AWS's public hub, which Clary does not have. Read the content's document with "
    "DescribeHubContent, and fetch the objects that it names from S3."
)

_FAMILIES: tuple[tuple[str, str], ...] = (
    (
        _LABELLING,
        "CreateLabelingJob DescribeLabelingJob ListLabelingJobs ListLabelingJobsForWorkteam StopLabelingJob CreateFlowDefinition "
        "DeleteFlowDefinition DescribeFlowDefinition ListFlowDefinitions CreateHumanTaskUi DeleteHumanTaskUi DescribeHumanTaskUi "
        "ListHumanTaskUis RenderUiTemplate CreateWorkforce DeleteWorkforce DescribeWorkforce ListWorkforces UpdateWorkforce "
        "CreateWorkteam DeleteWorkteam DescribeWorkteam ListWorkteams UpdateWorkteam DescribeSubscribedWorkteam "
        "ListSubscribedWorkteams",
    ),
    (
        _COMPILATION,
        "CreateCompilationJob DeleteCompilationJob DescribeCompilationJob ListCompilationJobs StopCompilationJob CreateOptimizationJob "
        "DeleteOptimizationJob DescribeOptimizationJob ListOptimizationJobs StopOptimizationJob",
    ),
    (
        _EDGE,
        "CreateEdgePackagingJob DescribeEdgePackagingJob ListEdgePackagingJobs StopEdgePackagingJob CreateDeviceFleet "
        "DeleteDeviceFleet DescribeDeviceFleet ListDeviceFleets UpdateDeviceFleet GetDeviceFleetReport RegisterDevices "
        "DeregisterDevices DescribeDevice ListDevices UpdateDevices CreateEdgeDeploymentPlan DeleteEdgeDeploymentPlan "
        "DescribeEdgeDeploymentPlan ListEdgeDeploymentPlans CreateEdgeDeploymentStage DeleteEdgeDeploymentStage "
        "StartEdgeDeploymentStage StopEdgeDeploymentStage ListStageDevices",
    ),
    (
        _HYPERPOD,
        "AttachClusterNodeNetworkInterface AttachClusterNodeVolume BatchAddClusterNodes BatchDeleteClusterNodes "
        "BatchRebootClusterNodes BatchReplaceClusterNodes CreateCluster CreateClusterExtension CreateClusterSchedulerConfig "
        "DeleteCluster DeleteClusterExtension DeleteClusterSchedulerConfig DescribeCluster DescribeClusterEvent "
        "DescribeClusterExtension DescribeClusterNode DescribeClusterOperation DescribeClusterSchedulerConfig DetachClusterNodeVolume "
        "ListClusterEvents ListClusterExtensionVersions ListClusterExtensions ListClusterNodes ListClusterOperations "
        "ListClusterSchedulerConfigs ListClusters StartClusterHealthCheck UpdateCluster UpdateClusterExtension "
        "UpdateClusterSchedulerConfig UpdateClusterSoftware",
    ),
    (
        _QUOTAS,
        "CreateComputeQuota DeleteComputeQuota DescribeComputeQuota ListComputeQuotas UpdateComputeQuota",
    ),
    (
        _SESSIONS,
        "CreateTrainingSession DeleteTrainingSession DescribeTrainingSession ListTrainingSessions StopTrainingSession",
    ),
    (
        _JOBS,
        "CreateJob DeleteJob DescribeJob DescribeJobSchemaVersion ListJobSchemaVersions ListJobs StopJob",
    ),
    (
        _BENCHMARKS,
        "CreateAIBenchmarkJob DeleteAIBenchmarkJob DescribeAIBenchmarkJob ListAIBenchmarkJobs StopAIBenchmarkJob "
        "CreateAIRecommendationJob DeleteAIRecommendationJob DescribeAIRecommendationJob ListAIRecommendationJobs "
        "StopAIRecommendationJob CreateAIWorkloadConfig DeleteAIWorkloadConfig DescribeAIWorkloadConfig ListAIWorkloadConfigs",
    ),
    (
        _ROUTERS,
        "CreateInferenceRouter DeleteInferenceRouter DescribeInferenceRouter ListInferenceRouters UpdateInferenceRouter",
    ),
    (
        _NOTEBOOKS,
        "CreateNotebookInstance DeleteNotebookInstance DescribeNotebookInstance ListNotebookInstances StartNotebookInstance "
        "StopNotebookInstance UpdateNotebookInstance CreatePresignedNotebookInstanceUrl CreateNotebookInstanceLifecycleConfig "
        "DeleteNotebookInstanceLifecycleConfig DescribeNotebookInstanceLifecycleConfig ListNotebookInstanceLifecycleConfigs "
        "UpdateNotebookInstanceLifecycleConfig",
    ),
    (
        _STUDIO,
        "CreateApp DeleteApp DescribeApp ListApps CreateAppImageConfig DeleteAppImageConfig DescribeAppImageConfig ListAppImageConfigs "
        "UpdateAppImageConfig CreateStudioLifecycleConfig DeleteStudioLifecycleConfig DescribeStudioLifecycleConfig "
        "ListStudioLifecycleConfigs CreatePresignedDomainUrl StartSession",
    ),
    (
        _PROJECTS,
        "CreateProject DeleteProject DescribeProject ListProjects UpdateProject EnableSagemakerServicecatalogPortfolio "
        "DisableSagemakerServicecatalogPortfolio GetSagemakerServicecatalogPortfolioStatus",
    ),
    (
        _PARTNERS,
        "CreatePartnerApp DeletePartnerApp DescribePartnerApp ListPartnerApps UpdatePartnerApp CreatePartnerAppPresignedUrl",
    ),
    (
        _PLANS,
        "CreateTrainingPlan DescribeTrainingPlan DescribeTrainingPlanExtensionHistory ExtendTrainingPlan ListTrainingPlans "
        "SearchTrainingPlanOfferings DescribeReservedCapacity ListUltraServersByReservedCapacity",
    ),
    (
        _PRESIGNED,
        "CreateHubContentPresignedUrls",
    ),
)
ROWS: Mapping[tuple[str, str], str] = MappingProxyType(
    {("sagemaker", name): why for why, names in _FAMILIES for name in names.split()}
)
