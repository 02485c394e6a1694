package io.berth.daemon;

import io.berth.admin.v1.ImageTrustRequest;
import io.berth.admin.v1.ImageTrustResponse;
import io.berth.image.Image;
import io.berth.image.ImageStore;
import io.berth.image.ImageTrust;
import io.berth.oci.ImageReference;
import java.util.List;
import java.util.Optional;

/// `berth image trust`: the verdict on an image, in the words that a refusal would have.
final class ImageTrustReport {
  private final ImageStore images;
  private final ImageTrust trust;

  ImageTrustReport(ImageStore images, ImageTrust trust) {
    this.images = images;
    this.trust = trust;
  }

  ImageTrustResponse of(ImageTrustRequest request) {
    Optional<Image> image = images.find(request.getImage());
    ImageTrust.Verdict verdict =
        image
            .map(found -> trust.explain(found, List.of(request.getImage()), request.getNamespace()))
            .orElseGet(() ->
                trust.explain(ImageReference.parse(request.getImage()), request.getNamespace()));
    return ImageTrustResponse.newBuilder()
        .setImage(verdict.image())
        .setAccepted(verdict.accepted())
        .setPolicy(verdict.policy())
        .setScope(verdict.scope())
        .addAllRequirements(verdict.requirements())
        .addAllUnmet(verdict.unmet())
        .setPresent(image.isPresent())
        .setSignatures(image.map(found -> found.signatures().size()).orElse(0))
        .build();
  }
}
