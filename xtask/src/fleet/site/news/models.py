from django.db import models


class Article(models.Model):
    title = models.CharField(max_length=200)
    picture = models.ImageField(upload_to="news", blank=True)
