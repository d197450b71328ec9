"""MLflow's database, on RDS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.rds.instance import Instance
from pulumi_aws.rds.parameter_group import ParameterGroup
from pulumi_aws.rds.subnet_group import SubnetGroup
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from settings.aws.storage import Database

from . import data_documents, documents
from .data_key import data_key
from .options import child

PORT = 5432
DATABASE = USER = "mlflow"
# Slow statements, in milliseconds, and who comes and goes. Statements themselves may hold secrets.
_PARAMETERS = {
    "rds.force_ssl": "1",
    "log_connections": "1",
    "log_disconnections": "1",
    "log_lock_waits": "1",
    "log_min_duration_statement": "1000",
}
_LOGS = ("postgresql", "upgrade")


@dataclass(frozen=True)
class MlflowDatabaseArgs:
    """Which database.

    prefix: of the stack's fixed names. account, region: where it lies. vpc_id, subnet_ids: the
    network, with subnets in two zones or more. client_group: the security group, and the only
    one, that may reach it. database: as configured.
    """

    prefix: str
    account: str
    region: str
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    client_group: pulumi.Input[str]
    database: Database = field(default_factory=Database)


class MlflowDatabase(pulumi.ComponentResource):
    """PostgreSQL that RDS runs, with a standby in another zone, encrypted, by TLS alone.

    RDS makes the password, keeps it in Secrets Manager and renews it every week; no state holds
    it. With `deletion_protection` it outlives the stack; its key always does, for without it nobody
    reads the last snapshot and the backups that it leaves.

    Outputs: `host`, `port`; `secret_arn`, of the JSON with `password` in Secrets Manager. Plain:
    `name`, `user`, `region`, `identifier`; `secret` is None, for no Secret of Kubernetes has it.
    """

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    secret_arn: pulumi.Output[str]
    key_arn: pulumi.Output[str]
    name: str = DATABASE
    user: str = USER
    secret: None = None
    region: str
    identifier: str

    def __init__(
        self, name: str, args: MlflowDatabaseArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:MlflowDatabase", name, None, opts)
        wanted = args.database
        keep = wanted.deletion_protection
        self.region = args.region
        self.identifier = f"{args.prefix}-mlflow"
        key = data_key(
            self,
            f"{name}-key",
            alias=self.identifier,
            purpose=f"the database {self.identifier}, its snapshots and its password",
            account=args.account,
            region=args.region,
        )
        kept = child(self, keep=keep)
        subnets = SubnetGroup(f"{name}-subnets", subnet_ids=list(args.subnet_ids), opts=kept)
        group = SecurityGroup(
            f"{name}-group",
            description="The database of MLflow",
            vpc_id=args.vpc_id,
            opts=kept,
        )
        way_in = SecurityGroupIngressRule(
            f"{name}-way-in",
            security_group_id=group.id,
            referenced_security_group_id=args.client_group,
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            opts=child(self),
        )
        parameters = ParameterGroup(
            f"{name}-parameters-{wanted.major}",
            family=f"postgres{wanted.major}",
            description="TLS alone, and what is logged",
            parameters=[
                {"name": parameter, "value": value, "apply_method": "immediate"}
                for parameter, value in _PARAMETERS.items()
            ],
            # Of one major version, so another one has another group. An upgrade leaves this one in
            # use until the maintenance window, and restores from before it take it afterwards.
            opts=child(self, retain=keep),
        )
        logs = [
            # RDS would make them itself, to be kept for ever.
            LogGroup(
                f"{name}-{log}-log",
                name=f"/aws/rds/instance/{self.identifier}/{log}",
                retention_in_days=wanted.log_days,
                opts=child(self, fixed_name=True),
            )
            for log in _LOGS
        ]
        insights = wanted.performance_insights
        instance = Instance(
            f"{name}-instance",
            identifier=self.identifier,
            engine="postgres",
            engine_version=wanted.version,
            auto_minor_version_upgrade=wanted.version == wanted.major,
            allow_major_version_upgrade=wanted.allow_major,
            instance_class=wanted.instance_class,
            allocated_storage=wanted.storage,
            max_allocated_storage=wanted.max_storage,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=key.arn,
            multi_az=wanted.multi_az,
            db_name=DATABASE,
            username=USER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key.arn,
            port=PORT,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            publicly_accessible=False,
            parameter_group_name=parameters.name,
            ca_cert_identifier="rds-ca-rsa2048-g1",
            backup_retention_period=wanted.backup_days,
            backup_window=wanted.backup_window,
            maintenance_window=wanted.maintenance_window,
            copy_tags_to_snapshot=True,
            # What was backed up stays for its days, although the database is gone.
            delete_automated_backups=False,
            skip_final_snapshot=False,
            final_snapshot_identifier=f"{self.identifier}-final",
            deletion_protection=wanted.deletion_protection,
            enabled_cloudwatch_logs_exports=list(_LOGS),
            performance_insights_enabled=insights,
            performance_insights_kms_key_id=key.arn if insights else None,
            performance_insights_retention_period=7 if insights else None,
            # Changes that restart it wait for the maintenance window.
            apply_immediately=False,
            opts=child(self, logs, keep=keep, timeout="60m"),
        )
        # By way of the rule: who gets the address gets in. The instance itself waits for nothing of
        # the cluster, which would otherwise stay with a database that is kept.
        self.host = pulumi.Output.all(instance.address, way_in.id).apply(lambda it: str(it[0]))
        self.port = instance.port
        self.key_arn = key.arn
        self.secret_arn = instance.master_user_secrets.apply(
            lambda secrets: str(secrets[0].secret_arn)
        )
        self.register_outputs({"host": self.host, "port": self.port, "secret_arn": self.secret_arn})

    @property
    def login(self) -> list[documents.Statement]:
        """What who logs in may do: read the password."""
        return data_documents.read_secret(self.secret_arn, self.region, self.key_arn)
