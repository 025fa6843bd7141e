from celery import shared_task

from reports.models import Report


@shared_task
def write_report(report_id: int) -> None:
    Report.objects.filter(pk=report_id).update(state="written")
