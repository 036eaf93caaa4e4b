// Package osagateway imports every module of OSA Gateway, so that one line,
// `xcaddy build --with github.com/osa-edge/osa-gateway`, brings all of them in.
package osagateway
