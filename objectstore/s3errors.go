package objectstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// explainS3 gives an error of minio-go its kind and says it in words. The codes
// are those of Amazon's "Error responses", and where noted of OSS's.
func explainS3(resource string, err error) error {
	var known *fleet.Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return stopped(resource, err)
	}
	if errors.Is(err, errNoCredentials) {
		return fleet.Errorf(fleet.Denied, resource, "%w to sign requests with", err).
			WithRemedy("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file of them by AWS_SHARED_CREDENTIALS_FILE")
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) || answer.StatusCode == 0 && answer.Code == "" {
		return explainNoAnswer(resource, err)
	}
	is := func(codes ...string) bool { return slices.Contains(codes, answer.Code) }
	switch status := answer.StatusCode; {
	case is("NoSuchBucket"):
		return fleet.Errorf(fleet.Invalid, resource, "the bucket does not exist: %w", err).
			WithRemedy("create the bucket, or correct its name")
	case is("XAdminUserNotFound"): // versitygw's, when it has one user only; with status 404
		return badCredentials(resource, answer.Code, err)
	case is("NoSuchKey"), status == http.StatusNotFound:
		return fleet.Errorf(fleet.NotFound, resource, "there is no such object: %w", err)
	case is("PreconditionFailed", "FileAlreadyExists"), status == http.StatusPreconditionFailed: // the second is OSS's
		return fleet.Errorf(fleet.Conflict, resource, "it is there already: %w", err)
	case is(parentVanished, "ObjectParentIsFile"): // versitygw's
		return fleet.Errorf(fleet.Invalid, resource, "one key goes on from another, as a/b does from a: %w", err).
			WithRemedy("use another key")
	case is("QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"), status == http.StatusInsufficientStorage:
		return fleet.Errorf(fleet.Denied, resource, "the disk or the quota of the server is full, nothing was stored: %w", err).
			WithRemedy("free some space there, or raise the quota")
	case is("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "QpsLimitExceeded"), status == http.StatusTooManyRequests:
		return fleet.Errorf(fleet.Throttled, resource, "asked too often: %w", err)
	case is("RequestTimeTooSkewed"):
		return fleet.Errorf(fleet.Denied, resource, "this machine's clock and the server's differ: %w", err).
			WithRemedy("set the clock right")
	case is("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired"):
		return badCredentials(resource, answer.Code, err)
	case is("FileImmutable", "ObjectLocked"), strings.Contains(answer.Message, "object lock"), strings.Contains(answer.Message, "WORM protected"):
		// OSS's and MinIO's codes; AWS's and versitygw's is AccessDenied.
		return fleet.Errorf(fleet.Blocked, resource, "it is locked: %w", err)
	case is("AccessDenied", "AllAccessDisabled", "AccountProblem"), status == http.StatusForbidden, status == http.StatusUnauthorized:
		return fleet.Errorf(fleet.Denied, resource, "not allowed: %w", err).
			WithRemedy("let the credentials read, write, list and delete in the bucket")
	case is("AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidRegion"), status == http.StatusMovedPermanently:
		return fleet.Errorf(fleet.Invalid, resource, "the bucket is in another region: %w", err).
			WithRemedy("say which with region=, and give that region's endpoint")
	case is("NotImplemented"):
		return fleet.Errorf(fleet.Invalid, resource, "the server cannot do this: %w", err).
			WithRemedy("use one that knows conditional puts and multipart uploads")
	case is("ConditionalRequestConflict", "OperationAborted"), status == http.StatusConflict, status >= 500, status == http.StatusRequestTimeout, is("RequestTimeout"):
		return fleet.Errorf(fleet.Unavailable, resource, "the server could not do it now (%s): %w", answer.Code, err)
	}
	return fleet.Errorf(fleet.Invalid, resource, "the server refused (%s): %w", answer.Code, err)
}

// parentVanished is versitygw's code for a key that others go on from, and for
// a directory that is removed under a put.
const parentVanished = "ExistingObjectIsDirectory"

func badCredentials(resource, code string, err error) error {
	return fleet.Errorf(fleet.Denied, resource, "the credentials are not accepted (%s): %w", code, err).
		WithRemedy("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the file or role that they come from")
}

// explainNoAnswer is for what went wrong before there was an answer.
func explainNoAnswer(resource string, err error) error {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
	)
	if errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verify) {
		return fleet.Errorf(fleet.Denied, resource, "the server's certificate is not trusted: %w", err).
			WithRemedy("add its authority to the system's, or name a file of it by SSL_CERT_FILE")
	}
	return fleet.Errorf(fleet.Unavailable, resource, "no answer: %w", err)
}
