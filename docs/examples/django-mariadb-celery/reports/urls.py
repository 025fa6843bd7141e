from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from reports.models import Report
from reports.tasks import write_report


@csrf_exempt
def reports(request: HttpRequest) -> JsonResponse:
    if request.method == "POST":
        report = Report.objects.create()
        write_report.delay(report.pk)
        return JsonResponse({"id": report.pk, "state": report.state}, status=201)
    return JsonResponse({"reports": list(Report.objects.order_by("pk").values("id", "state"))})


urlpatterns = [path("reports/", reports)]
