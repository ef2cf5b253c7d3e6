from django.http import HttpResponse

from .models import Article

VERSION = 1


def front(request):
    return HttpResponse("<main>version %d, %d articles</main>" % (VERSION, Article.objects.count()))
